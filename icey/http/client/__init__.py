"""The client: connections, the pool, redirects, cookies, credentials, proxies. Knows nothing of the server."""
