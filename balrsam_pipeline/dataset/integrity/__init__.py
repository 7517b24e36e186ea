"""Checking a raw dataset: every problem of every case, as a report, and what can be fixed mechanically."""
