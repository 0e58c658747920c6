"""Replay memory and its selection rules; one rule a file."""

from continual_df.memory.candidates import Candidates, SelectionRule
from continual_df.memory.centre import select_centre
from continual_df.memory.class_balanced import select_class_balanced
from continual_df.memory.diversity import memory_report
from continual_df.memory.hard import select_hard
from continual_df.memory.hard_central import select_hard_central
from continual_df.memory.herding import select_herding
from continual_df.memory.moderate import select_moderate
from continual_df.memory.per_domain import per_domain, select_per_domain
from continual_df.memory.prototype_guided import PrototypeGuided, select_prototype_guided
from continual_df.memory.replay_memory import ReplayMemory
from continual_df.memory.reservoir import select_reservoir
from continual_df.memory.sparse_uniform import SparseUniform, select_sparse_uniform
from continual_df.memory.vendi import vendi_score
from continual_df.memory.vendi_greedy import VendiGreedy, select_vendi_greedy

__all__ = [
    "Candidates",
    "PrototypeGuided",
    "ReplayMemory",
    "SelectionRule",
    "SparseUniform",
    "VendiGreedy",
    "memory_report",
    "per_domain",
    "select_centre",
    "select_class_balanced",
    "select_hard",
    "select_hard_central",
    "select_herding",
    "select_moderate",
    "select_per_domain",
    "select_prototype_guided",
    "select_reservoir",
    "select_sparse_uniform",
    "select_vendi_greedy",
    "vendi_score",
]
