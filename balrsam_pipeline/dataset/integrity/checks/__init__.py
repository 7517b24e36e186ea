"""The integrity checks, one family a file; each returns the problems that it finds and raises nothing."""
