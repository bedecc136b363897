"""The decisions as columns in memory, kept fresh; and longer work beside the pages."""
