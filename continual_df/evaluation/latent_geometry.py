"""Where images lie in feature space: principal axes, and distance and angle from a domain's centre."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA


class Plane(NamedTuple):
    """The plane of most variance.

    Attributes:
        origin_D: Its origin: the mean of the features that it was fitted to.
        axis_2D: Its orthonormal axes.
        share_2: Share of the variance along each.
    """

    origin_D: NDArray[np.float64]
    axis_2D: NDArray[np.float64]
    share_2: NDArray[np.float64]

    def points(self, feature_ND: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (N, 2): the features as seen on the plane."""
        seen_N2: NDArray[np.float64] = (feature_ND - self.origin_D) @ self.axis_2D.T
        return seen_N2

    def directions(self, direction_HD: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (H, 2): unit vectors as seen on the plane; 1 long where one lies in it, 0 where it is at right angles."""
        length_H1 = np.linalg.norm(direction_HD.astype(np.float64), axis=1, keepdims=True)
        unit_HD = np.divide(direction_HD, length_H1, out=np.zeros(direction_HD.shape), where=length_H1 > 0)
        seen_H2: NDArray[np.float64] = unit_HD @ self.axis_2D.T
        return seen_H2


def principal_plane(feature_ND: NDArray[np.floating]) -> Plane:
    """Return the plane of the first two principal components of N >= 2 features of D >= 2 dimensions."""
    fitted = PCA(2, random_state=0).fit(feature_ND.astype(np.float64))
    return Plane(fitted.mean_, fitted.components_, fitted.explained_variance_ratio_)


def magnitude_and_angle(
    feature_ND: NDArray[np.floating], domain_MD: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (N,) distances from a domain's centre, and (N,) angles there, in degrees within [0, 180].

    With centre c and first principal direction u of the domain, ``M = ||f - c||`` and the angle is
    ``arccos((f - c) . u / M)``; it is NaN where f is c. M is the magnitude of sparse uniform replay (Cheng et al., 2024,
    arXiv:2411.11396).

    Args:
        feature_ND: The features.
        domain_MD: Features of the domain, M >= 2.
    """
    fitted = PCA(1, random_state=0).fit(domain_MD.astype(np.float64))
    offset_ND = feature_ND - fitted.mean_
    magnitude_N = np.linalg.norm(offset_ND, axis=1)
    cosine_N = np.full(len(offset_ND), np.nan)
    np.divide(offset_ND @ fitted.components_[0], magnitude_N, out=cosine_N, where=magnitude_N > 0)
    angle_N: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosine_N, -1, 1)))
    return magnitude_N, angle_N
