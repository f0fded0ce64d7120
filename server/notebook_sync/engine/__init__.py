"""The asyncio shell around the core: the only place where tasks are born."""
