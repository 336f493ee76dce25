"""What the commands share: printing, options, failures in words, listening, certificates."""
