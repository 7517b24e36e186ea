"""Files of the container folder, as text: the entry point, the Dockerfile, the README."""
