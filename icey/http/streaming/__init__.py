"""Where HTTP and PacketStream meet: stages that feed an exchange, and sources that bring what came."""
