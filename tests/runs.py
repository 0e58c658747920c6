"""Made-up run folders, as the loop leaves them; a pytest plugin of fixtures (see conftest.py)."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from numpy.typing import ArrayLike

from continual_df.evaluation.results import write_results

WriteRun = Callable[..., Path]


@dataclass
class RunBuilder:
    """A run folder put together image by image."""

    tasks: Sequence[Sequence[str]]
    images: list[dict[str, Any]] = field(default_factory=list)
    members: list[tuple[int, int, str]] = field(default_factory=list)

    def add(self, method: str, tasks: int | Sequence[int], split: str = "test", **columns: Any) -> int:
        """Add an image that is a member of ``tasks`` and return its sample."""
        sample = len(self.images)
        fake = method != "real" and not method.startswith("null_")
        row = {"path": f"{method}/{sample}.png", "label": int(fake), "method": method, "source": "faces", "video": ""}
        self.images.append({**row, "group": f"g{sample}", **columns})
        self.members += [(sample, task, split) for task in ([tasks] if isinstance(tasks, int) else tasks)]
        return sample

    def write(self, folder: Path, logits: Mapping[int, ArrayLike], config: str = "", root: Path | None = None) -> Path:
        """Write the run; ``logits`` holds one value an image by row, NaN for images that were not predicted."""
        (folder / "predictions").mkdir(parents=True)
        table = pyarrow.Table.from_pandas(pd.DataFrame(self.images), preserve_index=False)
        stored = str(root or folder)
        metadata = {**table.schema.metadata, b"root": stored.encode(), b"relative_root": b"."}
        pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), folder / "frames.parquet")
        pd.DataFrame(self.members, columns=["sample", "task", "split"]).to_parquet(folder / "membership.parquet")
        tasks = [
            {"index": index, "name": "+".join(methods), "methods": list(methods), "unlabelled": [], "real_domain": 0}
            for index, methods in enumerate(self.tasks)
        ]
        members = json.dumps([[self.images[sample]["path"], task, split] for sample, task, split in self.members])
        stream = {
            "schema": 1,
            "name": "toy",
            "tasks": tasks,
            "held_out": [],
            "hash": f"{zlib.crc32(members.encode()):08x}",
        }
        (folder / "stream.json").write_text(json.dumps(stream))
        (folder / "config.yaml").write_text(config)
        for row, values in logits.items():
            logit = np.asarray(values, dtype=np.float32)
            predicted = np.flatnonzero(~np.isnan(logit))
            pd.DataFrame({"sample": predicted, "logit_fake": logit[predicted]}).to_parquet(
                folder / "predictions" / f"task_{row}.parquet"
            )
        return folder


def finish_run(run: Path, *, train_flops: float = 1e12, memory: Mapping[str, Sequence[Any]] | None = None) -> Path:
    """Add to ``run`` what the loop leaves at the end: costs, some of them of validation, the memory's columns, results."""
    num_tasks = len(json.loads((run / "stream.json").read_text())["tasks"])

    def cost(flops: float, seconds: float) -> dict[str, float]:
        return {"flops": flops, "seconds": seconds}

    tasks = [{"task": 0, "phases": {"predict": cost(7, 0.5)}}]
    for task in range(1, num_tasks + 1):
        phases = {
            "train": cost(train_flops, 10),
            "validate": cost(5, 1),
            "teacher": cost(100, 2),
            "predict": cost(7, 0.5),
        }
        tasks.append({"task": task, "phases": phases})
    (run / "compute.json").write_text(json.dumps({"schema": 1, "tasks": tasks}))
    folder = run / "tasks" / str(num_tasks)
    folder.mkdir(parents=True)
    if memory is not None:
        pd.DataFrame(memory).to_parquet(folder / "memory.parquet", index=False)
    write_results(run, num_draws=1)
    return run


@pytest.fixture
def write_run(tmp_path: Path) -> WriteRun:
    """Write a run of three tasks in which every task is learnt when it arrives and fades by ``fade`` a task."""

    def write(
        name: str,
        *,
        method: str = "Finetune",
        seed: int = 0,
        fade: float = 0.9,
        rows: int = 4,
        init_args: str = "{}",
        root: Path | None = None,
    ) -> Path:
        names = ["swap", "warp", "paint"]
        builder = RunBuilder([[each] for each in names])
        for task, each in enumerate(names):
            for person in range(20):
                split = "val" if person < 5 else "test"
                builder.add("real", task, split, group=f"p{task}.{person}")
                builder.add(each, task, split, group=f"p{task}.{person}")
        for person in range(5, 20):
            builder.add("null_reencode", -1, "test", group=f"p0.{person}")
        methods = [image["method"] for image in builder.images]
        generator = np.random.default_rng(seed)
        logits = {}
        for row in range(rows):
            strength = {each: 3 * (1 - fade) ** (row - 1 - task) * (task < row) for task, each in enumerate(names)}
            logits[row] = generator.normal(size=len(methods)) + [strength.get(each, 0) for each in methods]
        config = f"seed_everything: {seed}\nmodel:\n  class_path: methods.{method}\n  init_args: {init_args}\n"
        return builder.write(tmp_path / name, logits, config, root)

    return write
