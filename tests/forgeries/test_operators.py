from __future__ import annotations

import json

import numpy as np
import pytest

from continual_df.errors import ConfigError
from continual_df.forgeries.drawn_faces import draw_face
from continual_df.forgeries.geometry import CANONICAL, ORL, FaceGeometry
from continual_df.forgeries.operator import FittedOperator, Image, Operator, Scene
from continual_df.forgeries.operators import operators, select
from continual_df.forgeries.seeding import generator

NAMES = sorted(operators())
LOCAL = [name for name, operator in operators().items() if operator.family not in ("control", "synthesis")]


@pytest.fixture(scope="module")
def fitted() -> dict[str, Operator]:
    ready = operators()
    reals = np.stack([draw_face(1, person, 0, 48) for person in range(6)])
    for operator in ready.values():
        if isinstance(operator, FittedOperator):
            if hasattr(operator, "steps"):
                operator.steps = 120
            operator.fit(reals, 0)
    return ready


def scene(size: int, geometry: FaceGeometry = CANONICAL) -> Scene:
    return Scene(geometry, draw_face(0, 1, 0, size))


def grey(image: Image) -> Image:
    return np.repeat(image[..., 1:2], 3, axis=2)


@pytest.mark.parametrize("name", LOCAL)
@pytest.mark.parametrize("size", [32, 65, 128])
@pytest.mark.parametrize("shot", [0, 1])
def test_a_local_forgery_changes_pixels_in_its_mask_and_no_other(
    fitted: dict[str, Operator], name: str, size: int, shot: int
) -> None:
    face = draw_face(0, 0, shot, size)
    forgery = fitted[name](face, scene(size), generator(shot, name))
    changed = (forgery.image != face).any(2)
    assert forgery.image.dtype == forgery.mask.dtype == np.uint8
    assert forgery.image.shape == face.shape
    assert forgery.mask.shape == face.shape[:2]
    assert set(np.unique(forgery.mask)) == {0, 255}
    assert not changed[forgery.mask == 0].any()
    assert changed[forgery.mask > 0].mean() > 0.5
    assert 0.005 < (forgery.mask > 0).mean() < 0.8


@pytest.mark.parametrize("name", [name for name, operator in operators().items() if operator.family == "synthesis"])
@pytest.mark.parametrize("size", [32, 65])
def test_a_synthesis_redraws_the_whole_image_and_keeps_the_person(
    fitted: dict[str, Operator], name: str, size: int
) -> None:
    face = draw_face(0, 0, 0, size)
    forgery = fitted[name](face, scene(size), generator(0, name))
    assert (forgery.mask == 255).all()
    assert (forgery.image != face).any(2).mean() > 0.8
    assert np.corrcoef(forgery.image.ravel(), face.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("name", ["null_codec", "null_resample"])
def test_a_control_has_an_empty_mask_and_looks_the_same(fitted: dict[str, Operator], name: str) -> None:
    face = draw_face(0, 0, 0, 64)
    forgery = fitted[name](face, scene(64), generator(0, name))
    difference = np.abs(forgery.image.astype(int) - face)
    assert not forgery.mask.any()
    assert 0 < difference.mean() < 3


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_alone_decides_and_the_face_is_left_as_it_was(fitted: dict[str, Operator], name: str) -> None:
    face = draw_face(0, 0, 0, 64)
    before = face.copy()
    first, again, other = (fitted[name](face, scene(64), generator(seed, name)) for seed in (0, 0, 1))
    assert first.image.tobytes() == again.image.tobytes()
    assert first.mask.tobytes() == again.mask.tobytes()
    assert json.dumps(first.params) == json.dumps(again.params)
    assert first.image.tobytes() != other.image.tobytes()
    assert np.array_equal(face, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_grey_face_is_forged_visibly_too(fitted: dict[str, Operator], name: str) -> None:
    face = grey(draw_face(0, 0, 0, 64))
    forgery = fitted[name](face, Scene(ORL, grey(draw_face(0, 1, 0, 64))), generator(0, name))
    inside = forgery.mask > 0
    changed = np.abs(forgery.image.astype(int) - face).mean(2)
    assert not changed[~inside].any() or name.startswith("null_")
    if inside.any():
        assert changed[inside].mean() > 1


@pytest.mark.parametrize("name", [name for name, operator in operators().items() if operator.needs_donor])
def test_a_swap_brings_the_donor_in(fitted: dict[str, Operator], name: str) -> None:
    face = draw_face(0, 0, 0, 64)
    one, two = (fitted[name](face, Scene(CANONICAL, draw_face(0, p, 0, 64)), generator(0, name)) for p in (1, 2))
    assert (one.image != two.image).any()
    with pytest.raises(ValueError, match=f"{name} needs a donor face, got None"):
        fitted[name](face, Scene(CANONICAL), generator(0, name))


@pytest.mark.parametrize("name", ["pca_reconstruction", "tiny_autoencoder"])
def test_an_operator_that_learns_refuses_to_forge_before(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be fitted"):
        operators()[name](draw_face(0, 0, 0, 64), scene(64), generator(0, name))


def test_the_autoencoder_learns_its_reals() -> None:
    reals = np.stack([draw_face(1, person, 0, 48) for person in range(6)])
    errors = []
    for steps in (1, 100):
        operator = operators()["tiny_autoencoder"]
        assert isinstance(operator, FittedOperator)
        operator.steps = steps  # type: ignore[attr-defined]
        operator.fit(reals, 0)
        forged = operator(reals[0], scene(48), generator(0, "x")).image
        errors.append(np.abs(forged.astype(int) - reals[0]).mean())
    assert errors[1] < 0.5 * errors[0]


def test_every_family_has_three_methods_and_there_are_two_controls() -> None:
    families = [operator.family for operator in operators().values()]
    assert all(families.count(name) >= 3 for name in ("swap", "reenactment", "synthesis", "edit"))
    assert families.count("control") == 2
    assert all(name == operator.name for name, operator in operators().items())


def test_an_unknown_method_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(ConfigError, match=r"'poison_swap' is not known. Did you mean poisson_swap"):
        select(["poison_swap"])
    with pytest.raises(ConfigError, match="named twice"):
        select(["inpaint", "inpaint"])


@pytest.mark.parametrize("geometry", [CANONICAL, ORL])
def test_parts_lie_in_the_face_where_their_points_are(geometry: FaceGeometry) -> None:
    shape = (200, 200, 3)
    face = geometry.face(shape)
    for name, point in zip(("left_eye", "right_eye"), geometry.points(shape), strict=False):
        part = geometry.part(name, shape)
        rows, columns = np.nonzero(part)
        assert np.allclose([columns.mean(), rows.mean()], point, atol=1)
        assert face[part > 0].mean() > 0.9
    assert geometry.part("mouth", shape)[round(geometry.left_mouth[1] * 200), round(geometry.left_mouth[0] * 200)] == 1
