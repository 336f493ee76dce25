"""RFC 9110, the meaning of HTTP: fields, targets, statuses, conditions, credentials. No input or output; imports base alone."""
