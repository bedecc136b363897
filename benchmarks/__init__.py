"""Figures, not tests: each module prints a table with `python -m benchmarks.NAME [--quick] [--json FILE]`."""
