"""Bondhu learns which action to take in each context from feedback, and proves a policy before it ships."""

__version__ = "0.8.0"
