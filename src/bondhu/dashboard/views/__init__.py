"""One file, one view: `view(desk, asked) -> Page`."""
