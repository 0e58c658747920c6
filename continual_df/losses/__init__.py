"""Loss terms; one loss a file."""
