"""Changes of the server's tables, one file each, in order; `schema` applies those that are missing."""
