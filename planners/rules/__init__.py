"""The rules of planning: pure functions from a fingerprint and a budget to one decision and its reason, one a file."""
