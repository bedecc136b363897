"""Routes behind the hot ones, by what they are for; each module adds its own to the application."""
