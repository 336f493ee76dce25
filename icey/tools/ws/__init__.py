"""python3 -m icey ws: talk to a WebSocket, or be one that echoes."""
