"""A summary as files and as text: summary.json, per_case.csv, a table for the terminal."""
