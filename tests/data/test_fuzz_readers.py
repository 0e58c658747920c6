"""Every reader on bytes that are wrong: an error that names the place, or a table that holds; never anything else."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from continual_df.commands.stream_cli import parse_settings
from continual_df.data.frame_table import FrameTable
from continual_df.data.readers import DeepfakeBench, ForgeryNet, OwDfa, PathList, Reader, TableFile
from continual_df.data.tables import load_tables
from continual_df.errors import ContinualDFError

FILES = ("real/000/0.png", "real/000/1.png", "simswap/ff/frames/000_003/0.png", "masks/0.png", "Top.PNG")
INDEX = {
    "simswap_ff": {
        "simswap_Real": {"train": {"000": {"label": "simswap_Real", "frames": ["real/000/0.png", "real/000/1.png"]}}},
        "simswap_Fake": {
            "test": {
                "c23": {
                    "000_003": {
                        "label": "simswap_Fake",
                        "frames": ["x\\simswap\\ff\\frames\\000_003\\0.png"],
                        "masks": ["masks/0.png"],
                        "meta": {"identity": "000|003"},
                    }
                }
            }
        },
    }
}
PATHS = [
    {"path": "real/000/0.png", "label": 0, "split": "train"},
    {"path": "Top.PNG", "label": 1, "method": "lia", "group": "g", "mask": "masks/0.png"},
]
ROWS = {
    "path": ["real/000/0.png", "Top.PNG"],
    "label": [0, 1],
    "method": ["real", "lia"],
    "source": ["ff", "ff"],
    "group": ["1", "2"],
    "mask": ["", "masks/0.png"],
}
OWDFA = "img_path,img_name,image_source,method,label,tag\nTop.PNG,1,ff,Deepfakes,1,1\nreal/000/0.png,2,ff,Real,0,2\n"
FORGERYNET = "real/000/0.png 0 0 0\nTop.PNG 1 1 3\n"
CONFIG = """
seed_everything: 1
trainer: {max_epochs: 1, accelerator: cpu}
model:
  class_path: Replay
  init_args:
    detector: {class_path: TimmDetector, init_args: {backbone: test_resnet}}
    memory: {class_path: ReplayMemory, init_args: {capacity: 5}}
    batch_size: 4
data:
  class_path: ForgeryStream
  init_args:
    tables:
    - {class_path: TableFile, init_args: {path: t.csv, where: {source: [ff]}}}
    - {class_path: DeepfakeBench, init_args: {index: [index.json], root: ., labels: {a: b}}}
    tasks: [{methods: [lia]}]
    reals: reuse
    max_images: {train: 5}
"""

WORDS = [
    *("", ".", "..", "/", "//", "../x.png", "/etc/passwd", "real/../../x.png", "real//000/./0.png", "~", "~nobody/x"),
    *("a/" * 3000, "x" * 5000, "\0", "a\nb", "\x1b[31m", "\ud800", "\udcff", "\u202e", "9" * 5000, "0" * 5000 + "1"),
    *("real", "Fake", "null_x", "train", "exam", "c23", "frames", "0", "1", "-1", "nan", "1e999", "None", "|", "null"),
    *("${a}", "${oc.env:NO_SUCH}", "${data}", "${", "[", "{", "os.abort", "continual_df.cli", "..x", "a..b", "path"),
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([10**400, -(10**30), 2**63, 2**64]),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(st.characters(), max_size=8),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=4)), inner, max_size=3),
    ),
    max_leaves=6,
)


def places(node: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value in ``node``, itself included."""
    steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [here, *(place for step, value in steps for place in places(value, (*here, step)))]


@st.composite
def near(draw: st.DrawFn, valid: Any) -> Any:
    """Return ``valid`` with one to three values replaced, removed, or put under another key."""
    content = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        way = draw(st.sampled_from(places(content)))
        if not way:
            if draw(st.integers(0, 9)) == 0:
                return draw(VALUES)
            continue
        parent, last = content, way[-1]
        for step in way[:-1]:
            parent = parent[step]
        change = draw(st.sampled_from(["replace", "remove", "rename"]))
        if change == "replace":
            parent[last] = draw(VALUES)
        elif change == "rename" and isinstance(parent, dict):
            parent[draw(st.sampled_from(WORDS))] = parent.pop(last)
        else:
            del parent[last]
    return content


@st.composite
def damaged(draw: st.DrawFn, valid: bytes) -> bytes:
    """Return ``valid`` cut, overwritten or doubled somewhere; or any bytes."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=60))
    content = valid
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        end = min(len(content), start + draw(st.integers(0, 12)))
        put = draw(
            st.one_of(
                st.binary(max_size=6), st.sampled_from([content[start : end + 20], b"", b'"', b"\xff", b"[" * 3000])
            )
        )
        content = content[:start] + put + content[end:]
    return content


def dump(content: Any, escaped: bool) -> bytes:
    return json.dumps(content, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


def json_bytes(valid: Any) -> st.SearchStrategy[bytes]:
    return st.one_of(st.builds(dump, near(valid), st.booleans()), damaged(dump(valid, True)))


def holds(reader: Reader) -> None:
    """Read, and hold any table that comes of it to what a frame table promises."""
    try:
        table = reader.read()
    except ContinualDFError:
        return
    assert isinstance(table, FrameTable)
    assert len(table) > 0
    for column in ("path", "mask"):
        for path in table.frame.get(column, ()):
            assert ".." not in path.split("/")
            assert not path.startswith("/")
    assert table.frame["path"].is_unique
    pyarrow.Table.from_pandas(table.frame, preserve_index=False).validate(full=True)
    "".join(entry + reason for entry, reason in table.skipped).encode()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    return folder


def parquet_bytes() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(ROWS).to_parquet(buffer)
    return buffer.getvalue()


Case = tuple[str, st.SearchStrategy[bytes], Callable[[Path, Path, bool], Reader]]
CASES: dict[str, Case] = {
    "deepfakebench": (
        "i.json",
        json_bytes(INDEX),
        lambda file, root, check: DeepfakeBench([str(file)], str(root), check_files=check),
    ),
    "path list": (
        "l.json",
        json_bytes(PATHS),
        lambda file, root, check: PathList(str(file), str(root), check_files=check),
    ),
    "csv": (
        "t.csv",
        damaged(pd.DataFrame(ROWS).to_csv(index=False).encode()),
        lambda file, root, check: TableFile(str(file), str(root), check_files=check),
    ),
    "parquet": (
        "t.parquet",
        damaged(parquet_bytes()),
        lambda file, root, check: TableFile(str(file), None if check else str(root), check_files=check),
    ),
    "owdfa": (
        "o.csv",
        damaged(OWDFA.encode()),
        lambda file, root, check: OwDfa([str(file)], str(root), check_files=check),
    ),
    "forgerynet": (
        "f.txt",
        damaged(FORGERYNET.encode()),
        lambda file, root, check: ForgeryNet([str(file)], str(root), check_files=check),
    ),
}


def fuzz(examples: int, derandomize: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return settings(
        max_examples=examples,
        deadline=5000,
        derandomize=derandomize,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


def try_reader(case: str, root: Path, examples: int, derandomize: bool) -> None:
    name, content, make = CASES[case]

    @fuzz(examples, derandomize)
    @given(content, st.booleans())
    def check(content: bytes, check_files: bool) -> None:
        file = root.parent / f"{case.replace(' ', '')}.{name}"
        file.write_bytes(content)
        holds(make(file, root, check_files))

    check()


@pytest.mark.parametrize("case", CASES)
def test_readers_refuse_wrong_bytes_or_give_a_table_that_holds(case: str, root: Path) -> None:
    try_reader(case, root, 60, derandomize=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_readers_hold_under_many_wrong_bytes(case: str, root: Path) -> None:
    try_reader(case, root, 3000, derandomize=False)


# YAML

YAML = yaml.safe_load(CONFIG)
YAML_BYTES = st.one_of(
    st.builds(lambda content: yaml.safe_dump(content, allow_unicode=False).encode(), near(YAML)),
    st.builds(lambda content: json.dumps(content).encode(), near(YAML)),
    damaged(CONFIG.encode()),
)


def accepts_or_explains(content: bytes, folder: Path) -> None:
    """Read ``content`` as tables and as the settings of a run."""
    file = folder / "config.yaml"
    file.write_bytes(content)
    for read in (lambda: load_tables(file), lambda: parse_settings(["--config", str(file)])):
        with contextlib.suppress(ContinualDFError):
            read()


def test_configurations_of_wrong_bytes_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz(40, True)(given(YAML_BYTES)(lambda content: accepts_or_explains(content, tmp_path)))()


@pytest.mark.slow
def test_configurations_of_many_wrong_bytes_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fuzz(1500, False)(given(YAML_BYTES)(lambda content: accepts_or_explains(content, tmp_path)))()
