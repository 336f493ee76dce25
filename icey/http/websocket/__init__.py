"""WebSocket (RFC 6455, 7692): frames without input or output, the handshake, the connection, the public class."""
