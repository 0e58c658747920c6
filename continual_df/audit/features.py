"""From file statistics to the numbers of a linear probe."""

from __future__ import annotations

import numpy as np
import pandas as pd

NUMBERS = {
    "log_pixels": "image size",
    "aspect": "aspect ratio",
    "log_file_size": "file size",
    "jpeg_quality": "JPEG quality",
    "mean": "brightness",
    "std": "contrast",
    "log_laplacian": "sharpness",
}
"""Column of the statistics -> name of the feature."""

CATEGORIES = {"size": "size", "codec": "codec", "colour": "colour mode", "subsampling": "chroma"}
"""As above; each value that occurs becomes a feature of its own, 1 where an image has it."""

MOST_VALUES = 16
"""Values of one category that become features, the most frequent first."""


def probe_features(statistics: pd.DataFrame) -> pd.DataFrame:
    """Return the features of the images in ``statistics``, without any that never vary.

    Images that are no JPEG get the median quality of those that are: the codec is a feature of its own.
    """
    columns = {}
    for column, name in NUMBERS.items():
        value = statistics[column].astype(float)
        columns[name] = value.fillna(value.median() if value.notna().any() else 0.0)
    for column, name in CATEGORIES.items():
        counts = statistics[column].value_counts()
        for value in counts.index[:MOST_VALUES] if len(counts) > 1 else []:
            columns[f"{name} {value}"] = (statistics[column] == value).astype(float)
    features = pd.DataFrame(columns, index=statistics.index)
    varying = [name for name in features.columns if np.ptp(features[name].to_numpy()) > 0] if len(features) else []
    return features[varying]
