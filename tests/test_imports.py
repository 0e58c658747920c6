"""Which part of the program may import which, read from the sources; a new part must be given its place here."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parent.parent / "continual_df"

GROUND = (
    "errors",
    "files",
    "class_names",
    "labels",
    "randomness",
    "generators",
    "ranks",
    "logged_values",
    "fit_position",
    "stop_signals",
    "run_lock",
    "checkpoint_file",
    "requeue",
    "cost",
    "flops",
    "ledger",
    "task",
    "failures",
    "metrics_log",
    "run_state",
)
"""What every part may stand on; of one another, each may import those before it."""

ABOVE_GROUND = {
    "data": (),
    "evaluation": (),
    "audit": ("data", "evaluation"),
    "losses": (),
    "memory": (),
    "models": (),
    "forgeries": ("data",),
    "plots": ("evaluation", "data"),
    "callbacks": ("evaluation", "models", "memory", "run_folder"),
    "run_folder": ("data",),
    "methods": ("losses", "models", "memory", "data", "forgeries", "evaluation"),
    "extraction": ("data", "methods"),
    "sizes": ("models",),
    "search": ("callbacks", "data", "memory", "methods"),
    "loop": ("memory", "data", "evaluation", "methods", "run_folder", "callbacks", "extraction", "search", "sizes"),
}
"""Part -> the parts that it may import besides the ground and itself; commands may import all of them."""

HOME = {"avalanche": "data", "faiss": "models", "optuna": "search", "timm": "models", "matplotlib": "plots"}
"""Library -> the one part that imports it."""

WITHOUT_TORCH = ("audit", "evaluation", "plots", "errors", "files", "class_names", "labels", "randomness", "cost")

EVALUATION_ONLY = {"numpy", "scipy", "sklearn", "pandas", "pyarrow", "yaml"}
"""The libraries of evaluation, besides Python's own: arrays, tables, and what reads the files of a run."""


class Import(NamedTuple):
    """One import: where it stands, what it names, and whether it runs when its module is imported."""

    place: str
    part: str
    name: str
    at_import: bool

    @property
    def target(self) -> str | None:
        """The part of continual_df that it names, if any; "" for the package itself."""
        if self.name.split(".")[0] != "continual_df":
            return None
        return self.name.partition(".")[2].partition(".")[0]


def imports_of(source: str, place: str, part: str) -> Iterator[Import]:
    """Yield every import in ``source``, those inside functions and under TYPE_CHECKING too."""

    def visit(node: ast.AST, at_import: bool) -> Iterator[Import]:
        where = f"{place}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(where, part, alias.name, at_import)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{where}: a relative import hides where it points"
            module = node.module or ""
            if module == "continual_df":  # `from continual_df import data` names the part data
                for alias in node.names:
                    yield Import(where, part, f"{module}.{alias.name}", at_import)
            else:
                yield Import(where, part, module, at_import)
        later = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        later = later or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            yield from visit(child, at_import and not later)

    yield from visit(ast.parse(source), True)


def _sources() -> list[tuple[Path, str]]:
    """Return every module of the package with its part; callbacks/ is a link, which rglob alone would pass by."""
    files = [*PACKAGE.rglob("*.py"), *(PACKAGE / "callbacks").rglob("*.py")]
    relative = sorted({file.relative_to(PACKAGE) for file in files})
    return [(PACKAGE / name, name.parts[0].removesuffix(".py")) for name in relative]


SOURCES = _sources()
IMPORTS = [
    found
    for file, part in SOURCES
    for found in imports_of(file.read_text(encoding="utf-8"), str(file.relative_to(PACKAGE.parent)), part)
]


def _may_import(part: str, target: str) -> bool:
    if target == part:
        return True
    if target == "__version__" or part == "commands":
        return target != "cli"
    if part in GROUND:
        return target in GROUND[: GROUND.index(part)]
    if part == "cli":
        return target in ("commands", "errors")
    return target in GROUND or target in ABOVE_GROUND[part]


def test_reader_of_imports_sees_functions_type_checking_and_submodules() -> None:
    source = (
        "import a.b\nfrom continual_df import data\n"
        "if TYPE_CHECKING:\n    import c\n"
        "class K:\n    import d\n    def f(self):\n        from e.g import h\n"
    )
    found = [(one.name, one.at_import) for one in imports_of(source, "x.py", "x")]
    assert found == [("a.b", True), ("continual_df.data", True), ("c", False), ("d", True), ("e.g", False)]


def test_every_part_has_a_place_and_all_are_read() -> None:
    parts = {part for _, part in SOURCES}
    assert parts - {*GROUND, *ABOVE_GROUND, "commands", "cli", "__init__"} == set()
    assert {"callbacks", "plots", "data", "methods", "commands"} <= parts


def test_imports_point_one_way() -> None:
    wrong = [
        f"{one.place}: {one.part} imports {one.target}"
        for one in IMPORTS
        if one.target and not _may_import(one.part, one.target)
    ]
    assert wrong == []


@pytest.mark.parametrize(("library", "home"), HOME.items())
def test_library_is_imported_in_one_folder(library: str, home: str) -> None:
    wrong = [one.place for one in IMPORTS if one.name.split(".")[0] == library and one.part != home]
    assert wrong == []


@pytest.mark.parametrize("library", ["avalanche", "faiss", "optuna"])
def test_slow_library_is_imported_inside_functions_only(library: str) -> None:
    wrong = [one.place for one in IMPORTS if one.name.split(".")[0] == library and one.at_import]
    assert wrong == []


def test_parts_without_torch_never_name_it() -> None:
    banned = {"torch", "torchvision", "torchmetrics", "pytorch_lightning", "timm"}
    wrong = [one.place for one in IMPORTS if one.part in WITHOUT_TORCH and one.name.split(".")[0] in banned]
    assert wrong == []


def test_evaluation_uses_arrays_tables_and_files_only() -> None:
    allowed = {*EVALUATION_ONLY, *sys.stdlib_module_names, "continual_df"}
    wrong = [f"{one.place}: {one.name}" for one in IMPORTS if one.part == "evaluation"]
    wrong = [line for line in wrong if line.split(": ")[1].split(".")[0] not in allowed]
    assert wrong == []


def test_evaluation_plots_readers_and_check_load_without_torch() -> None:
    modules = [
        ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
        for file, part in SOURCES
        if part in WITHOUT_TORCH or "readers" in file.parts or file.name in ("frame_table.py", "check.py")
    ]
    program = (
        f"import importlib, sys\nfor name in {modules}: importlib.import_module(name)\nprint('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
