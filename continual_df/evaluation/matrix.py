"""Numbers that summarise a matrix a[k, j]: the metric on the test set of task j after k tasks.

A matrix has T + 1 rows and T columns. Row 0 is measured before any training, row k after task k; column j (from 0)
is learnt by row j + 1. NaN means that the cell was not measured: it is left out of every mean and maximum, and a mean
over nothing is NaN, never 0. For a run that has not finished, the last row with a measured cell stands for the last
row, called L below, and only the L tasks that were learnt by then count; L = T for a finished run.

All functions assume that higher is better; negate a matrix of errors before asking for differences.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]


def average_accuracy(matrix: ArrayLike) -> float:
    """Return the mean of the last row over the tasks learnt, mean_{j<L} a[L, j] (ACC of [1]).

    [1] Lopez-Paz and Ranzato, Gradient episodic memory for continual learning, 2017, arXiv:1706.08840

    Args:
        matrix: (T + 1, T); None and NaN mean not measured.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    a = check_matrix(matrix)
    last = last_row(a)
    return _mean(a[last, :last])


def average_incremental(matrix: ArrayLike) -> float:
    """Return the average over the stream, mean_{1<=k<=L} mean_{j<k} a[k, j] (average incremental accuracy of [1]).

    Rows of which nothing was measured are left out.

    [1] Rebuffi et al., iCaRL: incremental classifier and representation learning, 2017, arXiv:1611.07725

    Args:
        matrix: (T + 1, T); None and NaN mean not measured.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    return _mean(average_curve(matrix)[1:])


def average_curve(matrix: ArrayLike) -> Matrix:
    """Return (T + 1,): for each row the mean over the tasks learnt so far, mean_{j<k} a[k, j]; NaN for row 0."""
    a = check_matrix(matrix)
    return np.array([_mean(a[k, :k]) for k in range(len(a))])


def forgetting(matrix: ArrayLike) -> float:
    """Return how far the tasks fell from their best, mean_{j<L-1} (max_{j+1<=k<=L} a[k, j] - a[L, j]).

    The maximum runs from the task's own row on, so that a lucky zero-shot value is not counted as learnt, and
    includes the last row, so that the value is never negative. Differs from [1], whose maximum leaves out the last
    row: there, a task that is best at the end has negative forgetting, here 0; `backward_transfer` shows such a gain.

    [1] Chaudhry et al., Riemannian walk for incremental learning, 2018, arXiv:1801.10112

    Args:
        matrix: (T + 1, T); None and NaN mean not measured.

    Returns:
        A value >= 0, or NaN while fewer than two tasks are learnt.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    a = check_matrix(matrix)
    last = last_row(a)
    # fmax ignores NaN; a column without any measured cell stays NaN and drops out of the mean
    return _mean(np.array([np.fmax.reduce(a[j + 1 : last + 1, j]) - a[last, j] for j in range(last - 1)]))


def first_minus_last(matrix: ArrayLike) -> float:
    """Return how far the tasks fell from where they were learnt, mean_{j<L-1} (a[j+1, j] - a[L, j]).

    This is what Avalanche calls forgetting; it is the negated `backward_transfer`.

    Args:
        matrix: (T + 1, T); None and NaN mean not measured.

    Returns:
        Negative if later tasks helped earlier ones; NaN while fewer than two tasks are learnt.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    a = check_matrix(matrix)
    last = last_row(a)
    return _mean(np.array([a[j + 1, j] - a[last, j] for j in range(last - 1)]))


def backward_transfer(matrix: ArrayLike) -> float:
    """Return what later tasks did to earlier ones, mean_{j<L-1} (a[L, j] - a[j+1, j]) (BWT of [1]).

    [1] Lopez-Paz and Ranzato, Gradient episodic memory for continual learning, 2017, arXiv:1706.08840

    Args:
        matrix: (T + 1, T); None and NaN mean not measured.

    Returns:
        Negative if later tasks harmed earlier ones; NaN while fewer than two tasks are learnt.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    return -first_minus_last(matrix)


def forward_transfer(matrix: ArrayLike) -> float:
    """Return what earlier tasks did for tasks not yet seen, mean_{1<=j<T} (a[j, j] - a[0, j]) (FWT of [1]).

    a[j, j] is the zero-shot value just before task j is learnt, a[0, j] the value before any training. In an
    unfinished run the mean is over the tasks of which both were measured.

    [1] Lopez-Paz and Ranzato, Gradient episodic memory for continual learning, 2017, arXiv:1706.08840

    Args:
        matrix: (T + 1, T); None and NaN mean not measured.

    Returns:
        NaN for one task, or where row 0 was not measured.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    a = check_matrix(matrix)
    return _mean(np.array([a[j, j] - a[0, j] for j in range(1, a.shape[1])]))


def next_task(matrix: ArrayLike) -> float:
    """Return how well the next task is met before it is learnt, mean_{1<=k<T} a[k, k] (next-period average of [1]).

    Row 0, before any training, is left out; in an unfinished run, what was not measured is too.

    [1] Pellegrini et al., AI-GenBench: a new ongoing benchmark for AI-generated image detection, 2025, arXiv:2504.20865

    Args:
        matrix: (T + 1, T); None and NaN mean not measured.

    Returns:
        NaN for one task.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    return _mean(np.diagonal(check_matrix(matrix))[1:])


def plasticity(matrix: ArrayLike) -> float:
    """Return how well each task is learnt when it arrives, mean_{j<L} a[j+1, j] (learning accuracy of [1]).

    [1] Riemer et al., Learning to learn without forgetting, 2019, arXiv:1810.11910

    Args:
        matrix: (T + 1, T); None and NaN mean not measured.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    a = check_matrix(matrix)
    return _mean(np.array([a[j + 1, j] for j in range(last_row(a))]))


def check_matrix(matrix: ArrayLike) -> Matrix:
    """Return ``matrix`` as float64 with None as NaN.

    Raises:
        ValueError: If the shape is not (T + 1, T) with T >= 1.
    """
    try:
        a = np.asarray(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"matrix must be numbers of shape (T + 1, T) with T >= 1, got {matrix!r} ({error})") from None
    if a.ndim != 2 or a.shape[1] < 1 or a.shape[0] != a.shape[1] + 1:
        raise ValueError(f"matrix must have shape (T + 1, T) with T >= 1, got shape {a.shape}")
    return a


def last_row(matrix: ArrayLike) -> int:
    """Return L, the last row with a measured cell: the number of tasks learnt; 0 if there is none."""
    measured = np.flatnonzero(~np.isnan(check_matrix(matrix)).all(axis=1))
    return int(measured[-1]) if len(measured) else 0


def _mean(values: Matrix) -> float:
    """Return the mean of what was measured, NaN for nothing (np.nanmean would warn)."""
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if len(measured) else float("nan")
