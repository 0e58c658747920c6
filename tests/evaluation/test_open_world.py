from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from continual_df.evaluation.open_world import attribution_scores, matched_confusion

Ids = list[int]


def best(true: Ids, predicted: Ids, known: set[int]) -> tuple[int, int]:
    """Most images right over all one-to-one matchings of heads to classes, and the most known ones among those."""
    classes, heads = sorted(set(true)), sorted(set(predicted))
    heads += [-1 - i for i in range(len(classes))]  # so that a class can be left without a head
    found = (0, 0)
    for chosen in permutations(heads, len(classes)):
        head = dict(zip(classes, chosen, strict=True))
        right = [t for t, p in zip(true, predicted, strict=True) if head[t] == p]
        found = max(found, (len(right), sum(t in known for t in right)))
    return found


def naive(true: Ids, predicted: Ids, known: set[int]) -> dict[str, float]:
    old = [(t, p) for t, p in zip(true, predicted, strict=True) if t in known]
    new = [(t, p) for t, p in zip(true, predicted, strict=True) if t not in known]
    free = [(t, p) for t, p in new if p not in known]
    everything, of_known = best(true, predicted, known)

    def share(right: int, part: list[tuple[int, int]]) -> float:
        return right / len(part) if part else float("nan")

    scores = {
        "known_acc": share(sum(t == p for t, p in old), old),
        "novel_acc": share(best([t for t, _ in new], [p for _, p in new], known)[0], new),
        "all_acc": share(everything, old + new),
        "known_acc_v2": share(of_known, old),
        "novel_acc_v2": share(everything - of_known, new),
        "novel_acc_strict": share(best([t for t, _ in free], [p for _, p in free], known)[0], new),
    }
    for name, part in (("all", old + new), ("known", old), ("novel", new)):
        t, p = [t for t, _ in part], [p for _, p in part]
        scores[f"{name}_nmi"] = normalized_mutual_info_score(t, p) if part else float("nan")
        scores[f"{name}_ari"] = adjusted_rand_score(t, p) if part else float("nan")
    return scores


@pytest.mark.parametrize("seed", range(40))
def test_scores_equal_a_search_over_all_matchings(seed: int) -> None:
    generator = np.random.default_rng(seed)
    classes = generator.choice(30, generator.integers(1, 5), replace=False)  # far from contiguous
    known = set(classes[: generator.integers(0, len(classes) + 1)].tolist())
    heads = np.concatenate([classes, generator.choice(np.arange(40, 60), 2, replace=False)])
    num = int(generator.integers(1, 14))
    true = generator.choice(classes, num).tolist()
    predicted = generator.choice(heads[: generator.integers(1, len(heads) + 1)], num).tolist()
    scores = attribution_scores(true, predicted, known)
    assert scores == pytest.approx(naive(true, predicted, known), nan_ok=True)


def test_predictions_in_a_known_head_count_for_ow_dfa_and_not_for_strict() -> None:
    # class 5 is novel; all its images fall in the head of the known class 0, which is empty of its own
    scores = attribution_scores([0, 0, 5, 5], [1, 1, 0, 0], known={0, 1})
    assert scores["known_acc"] == 0
    assert scores["known_acc_v2"] == 1
    assert scores["novel_acc"] == scores["novel_acc_v2"] == scores["all_acc"] == 1
    assert scores["novel_acc_strict"] == 0


def test_known_classes_take_their_heads_before_novel_ones_in_v2() -> None:
    # head 0 holds 3 images of known class 0 and 2 of novel class 7: alone, 7 gets that head; with all, 0 does
    scores = attribution_scores([0, 0, 0, 7, 7, 7], [0, 0, 0, 0, 0, 9], known={0})
    assert scores["novel_acc"] == pytest.approx(2 / 3)
    assert scores["novel_acc_v2"] == pytest.approx(1 / 3)
    assert scores["novel_acc_strict"] == pytest.approx(1 / 3)
    assert scores["known_acc_v2"] == 1


def test_perfect_clusters_under_other_numbers_are_perfect() -> None:
    true = [0, 0, 1, 1, 2, 2, 2, 3, 3]
    scores = attribution_scores(true, [{0: 0, 1: 1, 2: 41, 3: 17}[t] for t in true], known={0, 1})
    assert all(value == pytest.approx(1) for value in scores.values())


@pytest.mark.parametrize("seed", range(5))
def test_only_direct_and_strict_scores_depend_on_the_numbers_of_heads(seed: int) -> None:
    generator = np.random.default_rng(seed)
    true, predicted = generator.integers(0, 5, 60), generator.integers(0, 7, 60)
    first = attribution_scores(true, predicted, known={0, 2, 4})
    second = attribution_scores(true, generator.permutation(100)[predicted], known={0, 2, 4})
    free = {"known_acc", "novel_acc_strict"}
    assert {k: v for k, v in second.items() if k not in free} == pytest.approx(
        {k: v for k, v in first.items() if k not in free}
    )


@pytest.mark.parametrize(("true", "absent"), [([1, 1], "novel"), ([8, 9], "known"), ([], "all")])
def test_part_without_images_is_nan(true: Ids, absent: str) -> None:
    scores = attribution_scores(true, true, known={1})
    if absent == "all":
        assert all(math.isnan(value) for value in scores.values())
    else:
        assert {name for name, value in scores.items() if math.isnan(value)} == {
            name for name in scores if name.startswith(absent)
        }


def test_ow_dfa_is_the_most_lenient_of_the_novel_accuracies() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        scores = attribution_scores(generator.integers(0, 6, 50), generator.integers(0, 8, 50), known={0, 1, 2})
        assert scores["novel_acc_strict"] <= scores["novel_acc"]
        assert scores["novel_acc_v2"] <= scores["novel_acc"]


@pytest.mark.parametrize(
    ("true", "predicted", "problem"),
    [
        ([1, 2], [1], "one length"),
        ([[1]], [[1]], "one length"),
        ([1.0], [1], "integer ids"),
        ([1], ["a"], "integer ids"),
    ],
)
def test_what_is_no_list_of_ids_is_refused(true: object, predicted: object, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        attribution_scores(true, predicted, known={1})  # type: ignore[arg-type]


def test_confusion_has_known_classes_first_and_its_heads_in_the_order_of_the_match() -> None:
    true = [2, 2, 2, 0, 0, 0, 5, 5, 5, 5]
    predicted = [8, 8, 9, 0, 0, 9, 4, 4, 9, 0]
    confusion = matched_confusion(true, predicted, known={0, 5})
    assert confusion.class_C.tolist() == [0, 5, 2]
    assert confusion.head_K.tolist() == [0, 4, 8, 9]
    assert confusion.match == {0: 0, 5: 4, 2: 8}
    assert confusion.count_CK.tolist() == [[2, 0, 0, 1], [1, 2, 0, 1], [0, 0, 2, 1]]


def test_class_without_an_image_in_a_head_that_is_left_has_no_match() -> None:
    confusion = matched_confusion([0, 0, 1, 2], [0, 0, 0, 3], known={0})
    assert confusion.match == {0: 0, 2: 3}
    assert confusion.count_CK.tolist() == [[2, 0], [1, 0], [0, 1]]


def test_trace_of_the_confusion_is_the_accuracy_on_all() -> None:
    generator = np.random.default_rng(3)
    true, predicted = generator.integers(0, 6, 200), generator.integers(0, 9, 200)
    confusion = matched_confusion(true, predicted, known={0, 1})
    assert confusion.count_CK.sum() == 200
    assert np.trace(confusion.count_CK) / 200 == attribution_scores(true, predicted, {0, 1})["all_acc"]
