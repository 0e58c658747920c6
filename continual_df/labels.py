"""The label constants on which all parts agree; importable without torch."""

REAL = 0
"""Label of real images, and the class id of the method ``real``."""

FAKE = 1
"""Label of forged images, whatever method made them."""

UNKNOWN = -1
"""Class id (and label) of images that carry no label."""

ABSENT = -1e4
"""Logit of a head that no image can have: its probability is exactly 0 in float32, and its logarithm is finite."""

REAL_METHOD = "real"
"""Name of real images in the ``method`` column."""
