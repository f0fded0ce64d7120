"""The REST endpoints below ``/api/collaboration``."""
