"""RFC 9112, HTTP/1.1 on the wire: bytes to heads and bodies, and back. No socket, no loop."""
