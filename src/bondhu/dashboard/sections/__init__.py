"""Parts of pages that are drawn by one file each."""
