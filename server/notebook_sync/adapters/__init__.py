"""The ports on real Redis, files and processes, and their memory twins."""
