"""Watching what runs: drift, collapse of exploration, and rewards that fell, with the likely cause."""
