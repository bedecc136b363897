"""What pages say, computed: one file, one kind of figure; nothing here draws."""
