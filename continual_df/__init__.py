"""Continual and open-world face-forgery detection on streams of forgery methods."""

__version__ = "0.1.0"
