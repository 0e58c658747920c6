"""Prompts of a ViT: learned tokens that stand among those of an image, one prompt a task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from continual_df.models.addressed_linear import addressed_linear
from continual_df.models.detector import Detector, Features
from continual_df.models.frozen_vit import FrozenViT

PROMPT = 1
"""Last word of the address at which a prompt is drawn; the head of the same task has another."""


class PromptedViT(FrozenViT):
    """A frozen ViT with a prompt of L tokens a task, of which the newest learns.

    A prompt p (L, D) enters once, before the first block, between the class token and the patches (shallow visual
    prompts, Jia et al., 2022, arXiv:2203.12119): blocks([class; p; patches]); its outputs are dropped before pooling.

    Args:
        detector: The ViT.
        length: Tokens L of a prompt.
        method: Name of the method that needs it.
    """

    def __init__(self, detector: Detector, length: int, method: str) -> None:
        super().__init__(detector, method)
        self.length = length
        self.seed = torch.initial_seed()
        self.prompts = nn.ParameterList()

    def grow(self) -> None:
        """Freeze the prompts and add one, uniform in +-1/sqrt(D), as the weights of a linear layer are."""
        self.prompts.requires_grad_(False)
        place: Tensor = self.vit.backbone.pos_embed
        drawn = addressed_linear(place.shape[-1], self.length, self.seed, len(self.prompts), PROMPT)
        self.prompts.append(nn.Parameter(drawn.weight.detach().to(place.device)))

    def plain(self, image: Tensor) -> Features:
        """Return the features of ``image`` without a prompt."""
        features: Features = self.vit(image)
        return features

    def forward(self, image: Tensor, task_B: Tensor | None = None) -> Features:
        """Return the features of ``image`` with the prompts of the tasks ``task_B``, by default the newest."""
        prompt_BLD = self.prompts[-1].expand(len(image), -1, -1)
        if task_B is not None:
            prompt_BLD = torch.stack(list(self.prompts))[task_B]
        vit = self.vit.backbone
        token_BND = vit.norm_pre(vit._pos_embed(vit.patch_embed(self.vit.prepare(image))))
        first = vit.num_prefix_tokens
        token_BND = torch.cat([token_BND[:, :first], prompt_BLD.to(token_BND.dtype), token_BND[:, first:]], dim=1)
        token_BND = vit.norm(vit.blocks(token_BND))
        return self.vit.pool(torch.cat([token_BND[:, :first], token_BND[:, first + self.length :]], dim=1))
