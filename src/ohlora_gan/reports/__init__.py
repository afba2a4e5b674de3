"""Pages, tables and pictures of what was found."""
