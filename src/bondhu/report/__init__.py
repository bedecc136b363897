"""One page about one evaluation: what was found, how sure it is, and what the log could not say."""
