"""python3 -m icey get: fetch a URL."""
