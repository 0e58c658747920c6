"""Finetune: train on each task as it comes, and do nothing against forgetting; the lower bound."""

from __future__ import annotations

from continual_df.methods.base import Method


class Finetune(Method):
    """Sequential fine-tuning: each batch holds rows of the current task only."""
