from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group

from continual_df.evaluation.latent_geometry import magnitude_and_angle, principal_plane

# centre (1, 1), and the first principal direction is x, since the spread there is three times that along y
CROSS = np.array([[-2.0, 1.0], [4.0, 1.0], [1.0, 0.0], [1.0, 2.0]])


def test_magnitude_and_angle_by_hand() -> None:
    feature_ND = np.array([[4.0, 5.0], [-2.0, 5.0], [1.0, 7.0], [6.0, 1.0]])
    magnitude, angle = magnitude_and_angle(feature_ND, CROSS)
    assert magnitude == pytest.approx([5, 5, 6, 5])  # (3, 4), (-3, 4), (0, 6), (5, 0) from the centre
    sharp = np.degrees(np.arccos(3 / 5))
    expected = np.array([sharp, 180 - sharp, 90, 0])
    assert np.allclose(angle, expected) or np.allclose(angle, 180 - expected)  # a direction has two ends


def test_angle_at_the_centre_itself_is_none() -> None:
    magnitude, angle = magnitude_and_angle(np.array([[1.0, 1.0]]), CROSS)
    assert magnitude == [0]
    assert np.isnan(angle).all()


def test_magnitude_and_angle_do_not_change_with_a_rotation_and_a_shift() -> None:
    generator = np.random.default_rng(0)
    domain = generator.normal(size=(40, 5)) * [5, 2, 1, 1, 1]
    turn, shift = ortho_group.rvs(5, random_state=1), generator.normal(size=5)
    before, after = (
        magnitude_and_angle(domain, domain),
        magnitude_and_angle(domain @ turn + shift, domain @ turn + shift),
    )
    assert after[0] == pytest.approx(before[0])
    assert np.allclose(after[1], before[1]) or np.allclose(after[1], 180 - before[1])


def test_plane_holds_the_two_widest_axes_and_their_shares() -> None:
    # along the axes 2, 0 and 1 the squared deviations sum up to 2 * 16, 2 * 4 and 2 * 1
    points = np.array([[2, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 4], [0, 0, -4]], dtype=float) + 7
    plane = principal_plane(points)
    assert plane.origin_D == pytest.approx([7, 7, 7])
    assert np.abs(plane.axis_2D) == pytest.approx(np.array([[0, 0, 1], [1, 0, 0]]), abs=1e-9)
    assert plane.share_2 == pytest.approx([16 / 21, 4 / 21])
    assert np.abs(plane.points(np.array([[10.0, 9, 12]]))) == pytest.approx(np.array([[5, 3]]))


def test_directions_are_as_long_as_what_of_them_lies_in_the_plane() -> None:
    points = np.array([[2, 0, 0], [-2, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 4], [0, 0, -4]], dtype=float) + 7
    # (3, 0, 4) lies in the plane, (0, 5, 0) is at right angles to it, (1, 1, 0) is half in it, and 0 is no direction
    seen = principal_plane(points).directions(np.array([[3.0, 0, 4], [0, 5, 0], [1, 1, 0], [0, 0, 0]]))
    assert np.abs(seen) == pytest.approx(np.array([[0.8, 0.6], [0, 0], [0, 0.5**0.5], [0, 0]]), abs=1e-9)
