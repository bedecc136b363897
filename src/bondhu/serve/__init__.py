"""The live loop: decide and log, hear feedback, explain a decision; as Python calls and over HTTP."""
