"""The command that reads a plan or a network to people."""
