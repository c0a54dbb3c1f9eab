"""Fast code on arrays, for CPUs; it knows no graph."""
