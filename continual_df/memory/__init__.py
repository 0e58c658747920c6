"""Replay memory and its selection rules."""
