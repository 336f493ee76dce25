"""The substrate: loop, handles, signals, streams, buffers. Imports nothing by itself."""
