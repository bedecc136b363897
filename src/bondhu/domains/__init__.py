"""One folder or file is one problem: what is seen, what can be done, what feedback is worth, and a simulator."""
