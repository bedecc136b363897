"""Estimators for single decisions: what one decision of a policy would have earned."""
