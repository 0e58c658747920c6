"""Replay memory and its selection rules; one rule a file."""

from continual_df.memory.class_balanced import select_class_balanced
from continual_df.memory.replay_memory import Candidates, ReplayMemory
from continual_df.memory.reservoir import select_reservoir

__all__ = ["Candidates", "ReplayMemory", "select_class_balanced", "select_reservoir"]
