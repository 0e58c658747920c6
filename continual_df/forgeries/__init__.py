"""Procedural forgeries: a real face in, (fake, mask) out; one operator a file."""
