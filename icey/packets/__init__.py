"""The data plane: packets, the stages that they go through, the PacketStream that joins the stages, sources and sinks."""
