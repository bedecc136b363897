"""Estimators for whole sessions: what all decisions of a session together would have earned."""
