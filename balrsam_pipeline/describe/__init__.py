"""A plan, or a network, in plain words."""
