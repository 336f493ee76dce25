"""python3 -m icey bench: measure a server."""
