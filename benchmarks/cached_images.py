"""What `cache_images` saves of a pass over the training images, as a ratio within one run.

    python benchmarks/cached_images.py FRAMES.csv|TABLE.parquet [--method NAME] [--size 64] [--batch 32] [--passes 4]

Passes with and without the cache take turns, over the first task of all; the first one of each, which decodes either way, is left
out. Printed are images a second without and with it, and the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time

from continual_df.data.datamodule import ForgeryStream
from continual_df.data.readers import TableFile
from continual_df.data.sampler import Source
from continual_df.data.stream import TaskSpec


def stream(arguments: argparse.Namespace, *, cached: bool) -> ForgeryStream:
    """Return a stream of one task, about to be trained."""
    table = TableFile(arguments.table)
    data = ForgeryStream(
        [table],
        [TaskSpec([arguments.method])],
        check_images=False,
        image_size=arguments.size,
        cache_images=cached,
    )
    data.begin_task(0, [Source(data.stream.rows(0, "train"), arguments.batch)])
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--method", default="lowres_warp")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--passes", type=int, default=4)
    arguments = parser.parse_args()
    streams = {cached: stream(arguments, cached=cached) for cached in (False, True)}
    images = streams[False].stream.rows(0, "train").num
    speed: dict[bool, list[float]] = {False: [], True: []}
    for number in range(arguments.passes + 1):
        for cached, data in streams.items():
            begin = time.perf_counter()
            for _ in data.train_dataloader():
                pass
            if number:
                speed[cached].append(images / (time.perf_counter() - begin))
    plain, kept = statistics.median(speed[False]), statistics.median(speed[True])
    print(
        f"{images} images: {plain:.0f} a second decoded each time, {kept:.0f} cached, {kept / plain:.2f} times as many"
    )


if __name__ == "__main__":
    main()
