"""A linear probe on trivial statistics, trained to tell a control from reals, must not succeed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from continual_df.evaluation.bootstrap import bootstrap_interval
from continual_df.forgeries.drawn_faces import draw_face
from continual_df.forgeries.geometry import CANONICAL
from continual_df.forgeries.lastmile import LastMile, deliver, resample
from continual_df.forgeries.operator import Image, Scene
from continual_df.forgeries.operators import operators
from continual_df.forgeries.seeding import generator

PEOPLE, SHOTS, SIZE = 60, 4, 48


@pytest.fixture(scope="module")
def faces() -> list[Image]:
    return [draw_face(0, person, shot, SIZE) for person in range(PEOPLE) for shot in range(SHOTS)]


def statistics(data: bytes) -> list[float]:
    """Mean, deviation, log Laplacian energy, log file size."""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    laplacian = cv2.Laplacian(image.astype(np.float32), cv2.CV_32F)
    return [float(image.mean()), float(image.std()), float(np.log(laplacian.var())), float(np.log(len(data)))]


def probe(faces: list[Image], altered: list[Image]) -> tuple[float, float]:
    """Return the bootstrap interval, over photos with their pairs, of the probe's AUC across people."""
    deliveries = [LastMile(SIZE).draw(0, str(index)) for index in range(len(faces))]
    features = [
        statistics(deliver(image, delivery, grey=False))
        for images in (faces, altered)
        for image, delivery in zip(images, deliveries, strict=True)
    ]
    label = np.repeat([0, 1], len(faces))
    photo = np.tile(np.arange(len(faces)), 2)
    score = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(C=100)),
        features,
        label,
        groups=photo // SHOTS,
        cv=GroupKFold(5),
        method="decision_function",
    )
    interval = bootstrap_interval(label, score, photo, num=300)
    return interval.low, interval.high


@pytest.mark.parametrize("name", ["null_codec", "null_resample"])
def test_a_control_cannot_be_told_from_reals(faces: list[Image], name: str) -> None:
    operator = operators()[name]
    altered = [
        operator(face, Scene(CANONICAL), generator(0, name, str(index))).image for index, face in enumerate(faces)
    ]
    low, high = probe(faces, altered)
    assert low > 0.47  # pairs make the interval narrow: a bound on the size of the effect, not on its presence
    assert high < 0.53


def test_the_probe_sees_a_resampling_stronger_than_the_last_mile(faces: list[Image]) -> None:
    low, _ = probe(faces, [resample(face, 0.6) for face in faces])
    assert low > 0.6
