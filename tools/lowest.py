"""Print the lowest versions that pyproject.toml claims, as pip constraints: every ``name>=X`` becomes ``name==X``."""

from __future__ import annotations

import sys
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def lowest(pyproject: Path) -> list[str]:
    """Return a constraint for each dependency of the project and of its extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for lines in project["optional-dependencies"].values() for line in lines),
    ]
    bounds = [
        (requirement.name, bound.version)
        for requirement in map(Requirement, wanted)
        for bound in requirement.specifier
        if bound.operator == ">="
    ]
    return [f"{name}=={version}" for name, version in bounds]


if __name__ == "__main__":
    print("\n".join(lowest(Path(__file__).parent.parent / "pyproject.toml")))
