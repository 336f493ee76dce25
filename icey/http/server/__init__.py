"""The server: connections, exchanges and their answers, files, forms, logs."""
