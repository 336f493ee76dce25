"""Sockets and names: addresses, resolving, TCP, TLS, UDP, adapters. Importing this imports none of them."""
