"""Figures from a run folder; never from a model."""
