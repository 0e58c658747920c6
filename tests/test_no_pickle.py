"""No door of the program reads a pickle: neither by its sources nor when one is put before it."""

from __future__ import annotations

import ast
import os
import pickle
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
import torch
from torch import nn

from continual_df.checkpoint_file import load_checkpoint
from continual_df.commands.stream_cli import parse_settings
from continual_df.data.pixels import read_pixels
from continual_df.data.readers import DeepfakeBench, ForgeryNet, OwDfa, PathList, TableFile
from continual_df.data.tables import load_tables
from continual_df.errors import ContinualDFError
from continual_df.models.weights import load_backbone_weights

PACKAGE = Path(__file__).parent.parent / "continual_df"
SOURCES = sorted({*PACKAGE.rglob("*.py"), *(PACKAGE / "callbacks").rglob("*.py")})

UNPICKLERS = ("cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
ERROR = {"UnpicklingError"}
"""All that may be taken from the module pickle: what torch.load raises where it refuses one."""

READERS = ("read_pickle", "load_from_checkpoint", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all")


def offences(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of whatever in ``source`` could run what a file holds."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            if any(alias.name in UNPICKLERS or (alias.name == "pickle" and alias.asname) for alias in node.names):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if node.module in UNPICKLERS or names & set(READERS) or (node.module == "pickle" and names != ERROR):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Attribute):
            if node.attr in READERS or (ast.unparse(node.value) == "pickle" and {node.attr} != ERROR):
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            wrong = (
                (called == "torch.load" and given.get("weights_only") != "True")
                or given.get("allow_pickle", "False") != "False"
                or (called in ("yaml.load", "yaml.load_all") and "Safe" not in given.get("Loader", ""))
                or called in ("eval", "exec", "compile", "builtins.eval", "builtins.exec")
            )
            if wrong:
                yield node.lineno, ast.unparse(node)


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(file)",
        "import pickle as p",
        "from pickle import loads",
        "from joblib import load",
        "import pandas as pd\npd.read_pickle(path)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text, Loader=yaml.UnsafeLoader)",
        "yaml.unsafe_load(text)",
        "def f(x):\n    return eval(x)",
        "Model.load_from_checkpoint(path)",
    ],
)
def test_the_search_finds_what_it_looks_for(source: str) -> None:
    assert list(offences(source))


def test_no_source_can_run_what_a_file_holds() -> None:
    assert len(SOURCES) > 80
    assert [
        f"{file.relative_to(PACKAGE.parent)}:{line}: {text}"
        for file in SOURCES
        for line, text in offences(file.read_text(encoding="utf-8"))
    ] == []


class Malicious:
    """An object whose pickle makes a folder when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.mark),)


def as_pickle(path: Path, evil: Malicious) -> None:
    path.write_bytes(pickle.dumps(evil))


def as_torch_zip(path: Path, evil: Malicious) -> None:
    torch.save({"state_dict": evil, "epoch": evil, "model": evil}, path)


def as_torch_legacy(path: Path, evil: Malicious) -> None:
    torch.save({"state_dict": evil}, path, _use_new_zipfile_serialization=False)


def as_numpy(path: Path, evil: Malicious) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([evil], dtype=object), allow_pickle=True)


def as_npz(path: Path, evil: Malicious) -> None:
    with path.open("wb") as file:
        np.savez(file, path=np.array([evil], dtype=object))


def as_zip(path: Path, evil: Malicious) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(evil))


def as_parquet_extension(path: Path, evil: Malicious) -> None:
    # what CVE-2023-47248 ran: the pickle of a Python extension type in the schema
    notes = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickle.dumps(evil)}
    columns = {"path": ["a.png"], "label": [1], "method": ["lia"], "source": ["ff"], "group": ["1"]}
    fields = [
        pyarrow.field(name, pyarrow.string() if name != "label" else pyarrow.int64(), metadata=notes)
        for name in columns
    ]
    table = pyarrow.table(columns, schema=pyarrow.schema(fields, metadata={"root": pickle.dumps(evil)}))
    pyarrow.parquet.write_table(table, path)


def as_parquet_values(path: Path, evil: Malicious) -> None:
    frame = pd.DataFrame({"path": [pickle.dumps(evil)], "label": [1], "method": ["lia"], "source": "ff", "group": "1"})
    frame.to_parquet(path)


def as_yaml(path: Path, evil: Malicious) -> None:
    path.write_text(f"tables: !!python/object/apply:os.mkdir ['{evil.mark}']\n")


def as_yaml_key(path: Path, evil: Malicious) -> None:
    path.write_text(f"? !!python/object/apply:os.mkdir ['{evil.mark}']\n: 1\n")


WRITERS = (
    as_pickle,
    as_torch_zip,
    as_torch_legacy,
    as_numpy,
    as_npz,
    as_zip,
    as_parquet_extension,
    as_parquet_values,
    as_yaml,
    as_yaml_key,
)

DOORS: dict[str, Callable[[Path], Any]] = {
    "checkpoint x.ckpt": lambda path: load_checkpoint(path),
    "weights x.pt": lambda path: load_backbone_weights(nn.Linear(1, 1), path),
    "weights x.pth": lambda path: load_backbone_weights(nn.Linear(1, 1), path),
    "weights x.safetensors": lambda path: load_backbone_weights(nn.Linear(1, 1), path),
    "table x.parquet": lambda path: TableFile(str(path), check_files=False).read(),
    "table x.csv": lambda path: TableFile(str(path), check_files=False).read(),
    "index x.json": lambda path: DeepfakeBench([str(path)], str(path.parent), check_files=False).read(),
    "list x.json": lambda path: PathList(str(path), check_files=False).read(),
    "owdfa x.csv": lambda path: OwDfa([str(path)], str(path.parent), check_files=False).read(),
    "forgerynet x.txt": lambda path: ForgeryNet([str(path)], str(path.parent), check_files=False).read(),
    "image x.png": lambda path: read_pixels(path),
    "image x.npy": lambda path: read_pixels(path),
    "tables x.yaml": lambda path: load_tables(path),
    "run x.yaml": lambda path: parse_settings(["--config", str(path)]),
}


def test_a_malicious_pickle_makes_its_mark_where_pickles_are_read(tmp_path: Path) -> None:
    for write in (as_torch_zip, as_torch_legacy):
        write(tmp_path / "x", Malicious(tmp_path / write.__name__))
        torch.load(tmp_path / "x", weights_only=False)
        assert (tmp_path / write.__name__).exists()


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("door", DOORS)
def test_a_malicious_pickle_does_not_run_through_any_door(
    tmp_path: Path, door: str, write: Callable[[Path, Malicious], None]
) -> None:
    path = tmp_path / door.split()[1]
    write(path, Malicious(tmp_path / "mark"))
    with pytest.raises(ContinualDFError):
        DOORS[door](path)
    assert not (tmp_path / "mark").exists()
