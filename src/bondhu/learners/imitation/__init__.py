"""Learning what to do from those who know: one file is one algorithm."""
