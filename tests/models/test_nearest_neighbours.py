from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from continual_df.ledger import Ledger
from continual_df.models.nearest_neighbours import neighbour_accuracy


@pytest.mark.parametrize(("num_neighbours", "num_classes"), [(1, 3), (5, 2), (7, 3)])
def test_accuracy_is_that_of_scikit_learn_where_no_vote_is_tied(num_neighbours: int, num_classes: int) -> None:
    rng = np.random.default_rng(num_neighbours)
    class_N, class_M = rng.integers(num_classes, size=60), rng.integers(num_classes, size=40)
    centre_CD = rng.standard_normal((num_classes, 4))
    feature_ND, query_MD = (centre_CD[c] + 0.7 * rng.standard_normal((len(c), 4)) for c in (class_N, class_M))
    sklearn = KNeighborsClassifier(num_neighbours, metric="cosine").fit(feature_ND, class_N)
    shares = sklearn.predict_proba(query_MD)
    top = np.sort(shares, axis=1)
    clear = top[:, -1] > top[:, -2]
    expected = (sklearn.predict(query_MD) == class_M)[clear].mean()
    inputs = [torch.from_numpy(x) for x in (feature_ND, class_N, query_MD[clear], class_M[clear])]
    found = neighbour_accuracy(inputs[0].float(), inputs[1], inputs[2].float(), inputs[3], num_neighbours)
    assert found == pytest.approx(expected)
    assert 0.5 < found < 1


def test_fewer_features_than_neighbours_all_vote_and_a_tie_goes_to_the_more_similar() -> None:
    feature = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    query = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert neighbour_accuracy(feature, torch.tensor([0, 1]), query, torch.tensor([0, 1]), 5) == 1


def test_the_search_is_paid_for() -> None:
    ledger = Ledger()
    with ledger.activate(), ledger.phase("selection"):
        neighbour_accuracy(torch.randn(7, 3), torch.zeros(7).long(), torch.randn(5, 3), torch.zeros(5).long())
    assert ledger.cost(phases=["selection"]).flops == 2 * 7 * 5 * 3
