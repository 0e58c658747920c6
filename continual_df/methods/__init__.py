"""How a detector keeps learning: one method a file."""

from continual_df.methods.base import Method, Prediction
from continual_df.methods.finetune import Finetune
from continual_df.methods.joint import Joint
from continual_df.methods.replay import Replay

__all__ = ["Finetune", "Joint", "Method", "Prediction", "Replay"]
