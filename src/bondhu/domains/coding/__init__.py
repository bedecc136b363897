"""Coding: programs, the tests that say what they are worth, and what can be done to them."""
