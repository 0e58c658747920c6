from __future__ import annotations

import torch
from torch import nn

from continual_df.models.similarity_net import SimilarityNet


def test_it_is_a_perceptron_on_both_features_of_a_pair() -> None:
    net = SimilarityNet(4, 7)
    first = nn.Linear(8, 7)
    plain = nn.Sequential(first, nn.ReLU(), nn.Linear(7, 1))
    with torch.no_grad():
        first.weight.copy_(torch.cat([net.first.weight, net.second.weight], dim=1))
        first.bias.copy_(net.first.bias)
    plain[2].load_state_dict(net.output.state_dict())
    feature_BD = torch.randn(5, 4)
    pairs = torch.stack([torch.stack([torch.cat([one, two]) for two in feature_BD]) for one in feature_BD])
    torch.testing.assert_close(net(feature_BD), plain(pairs).squeeze(2))


def test_it_learns_which_pairs_are_of_one_class() -> None:
    torch.manual_seed(0)
    class_B = torch.arange(24) % 3
    feature_BD = nn.functional.one_hot(class_B, 3) * 2.0 + 0.3 * torch.randn(24, 3)
    net = SimilarityNet(3)
    optimizer, same_BB = torch.optim.Adam(net.parameters(), lr=0.01), (class_B[:, None] == class_B).float()
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(net(feature_BD), same_BB).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert ((net(feature_BD) > 0) == same_BB.bool()).float().mean() > 0.98
