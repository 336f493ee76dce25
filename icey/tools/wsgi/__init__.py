"""python3 -m icey wsgi: serves a WSGI application, and restarts when its files change."""
