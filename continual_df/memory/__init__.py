"""Replay memory and its selection rules; one rule a file."""

from continual_df.memory.candidates import Candidates, SelectionRule
from continual_df.memory.class_balanced import select_class_balanced
from continual_df.memory.per_domain import per_domain, select_per_domain
from continual_df.memory.replay_memory import ReplayMemory
from continual_df.memory.reservoir import select_reservoir

__all__ = [
    "Candidates",
    "ReplayMemory",
    "SelectionRule",
    "per_domain",
    "select_class_balanced",
    "select_per_domain",
    "select_reservoir",
]
