"""Sockets: addresses, TCP, adapters. Imports nothing by itself."""
