"""The sync engine: shared documents on a log in Redis. No Jupyter, no tornado."""
