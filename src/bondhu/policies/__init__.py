"""Ways of acting that learners and baselines share; each is a frozen `Policy`."""
