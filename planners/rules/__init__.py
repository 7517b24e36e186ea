"""The rules of planning: pure functions from fingerprint and hardware to one decision and its reason."""
