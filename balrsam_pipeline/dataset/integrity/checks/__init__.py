"""The integrity checks, one family per file; each returns the problems that it finds and raises nothing."""
