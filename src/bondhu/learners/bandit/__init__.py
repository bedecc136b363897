"""Bandits: decisions that stand alone, so that what follows one does not count."""
