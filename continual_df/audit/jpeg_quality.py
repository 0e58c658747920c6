"""The quality with which a JPEG was saved, estimated from its quantisation table.

The Independent JPEG Group's encoder scales one table of luminance steps by the quality, so the sum of the steps tells
the quality [1]. Encoders with tables of their own (Photoshop, cameras) get the quality whose table is as coarse.

[1] jcparam.c of libjpeg: jpeg_quality_scaling and std_luminance_quant_tbl, the table of ITU-T T.81, annex K
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

STEPS = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
"""Luminance steps at quality 50."""


def _sums() -> np.ndarray:
    """Return (100,) sums of the steps at qualities 1..100."""
    quality_Q = np.arange(1, 101)
    scale_Q = np.where(quality_Q < 50, 5000 // quality_Q, 200 - 2 * quality_Q)
    steps_QS = np.clip((np.array(STEPS)[None, :] * scale_Q[:, None] + 50) // 100, 1, 255)
    sums: np.ndarray = steps_QS.sum(axis=1)
    return sums


SUMS = _sums()


def jpeg_quality(tables: Mapping[int, Sequence[int]]) -> float:
    """Return the quality in 1..100 whose luminance table is as coarse as the first of ``tables``; NaN without one."""
    if not tables:
        return float("nan")
    steps = tables[min(tables)]
    return float(np.abs(SUMS - sum(steps)).argmin() + 1)
