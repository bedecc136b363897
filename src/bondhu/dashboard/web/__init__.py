"""The pages as an application: who may look, what is sent, acts, what has changed."""
