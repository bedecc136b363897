"""Runs of a learner in an environment: trained, evaluated, kept on disk, gone on with, compared and played back."""
