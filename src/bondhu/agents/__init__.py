"""Coding agents: what searches for a repair, what asks a language model, and what they learn from."""
