"""The sub-command `convert`."""
