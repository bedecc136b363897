"""The pages at `/`: is it learning, for whom, what comes next, and why this action for this person."""
