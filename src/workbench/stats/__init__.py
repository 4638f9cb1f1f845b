"""Is B better than A: arithmetic on plain arrays, no I/O."""
