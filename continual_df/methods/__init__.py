"""How a detector keeps learning: one method a file."""

from continual_df.methods.base import Method, Prediction
from continual_df.methods.brick import Brick
from continual_df.methods.cddb import CDDBReplay
from continual_df.methods.class_transfer import ClassTransfer
from continual_df.methods.cored import CoReD
from continual_df.methods.cpl import CPL
from continual_df.methods.der import DERpp
from continual_df.methods.dev_fd import DevFDLike
from continual_df.methods.dfil import DFIL
from continual_df.methods.er_ace import ERACE
from continual_df.methods.ewc import OnlineEWC
from continual_df.methods.finetune import Finetune
from continual_df.methods.hdp import HDP
from continual_df.methods.icarl import ICaRL
from continual_df.methods.joint import Joint
from continual_df.methods.lwf import LwF
from continual_df.methods.mixed_prototypes import MixedPrototypes
from continual_df.methods.open_ldn import OpenLDNLike
from continual_df.methods.open_world import OpenWorld
from continual_df.methods.open_world_stream import OpenWorldStream
from continual_df.methods.rank_stats import RankStats
from continual_df.methods.replay import Replay
from continual_df.methods.s_prompts import SPrompts
from continual_df.methods.sim_gcd import SimGCD
from continual_df.methods.sur_lid import SURLID
from continual_df.methods.transfer import Transfer

__all__ = [
    "CPL",
    "DFIL",
    "ERACE",
    "HDP",
    "SURLID",
    "Brick",
    "CDDBReplay",
    "ClassTransfer",
    "CoReD",
    "DERpp",
    "DevFDLike",
    "Finetune",
    "ICaRL",
    "Joint",
    "LwF",
    "Method",
    "MixedPrototypes",
    "OnlineEWC",
    "OpenLDNLike",
    "OpenWorld",
    "OpenWorldStream",
    "Prediction",
    "RankStats",
    "Replay",
    "SPrompts",
    "SimGCD",
    "Transfer",
]
