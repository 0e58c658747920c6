"""Runs ``continual-df`` in forked children, from a parent that has imported everything and has started no thread.

Reads one JSON object a line: ``argv`` and the file ``log``, and what happens to the child: it gets the signal ``number`` after
``seconds`` of its CPU time (a busy machine does not move the moment), with its data workers if ``group``, or right before its ``call``-th call to the file system that makes something last (fsync, rename, unlink); that
call fails with ``errno``; or no file may become longer than ``size`` bytes. Its ``environment`` is added to ours. Answers
with ``{"status": exit status or -signal, "seconds": ..., "calls": ...}``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

LASTING = ("fsync", "replace", "rename", "unlink", "rmdir")


def import_everything() -> None:
    """Import whatever a run imports."""
    package = importlib.import_module("continual_df")
    for module in pkgutil.walk_packages(package.__path__, "continual_df."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("toy")
    run: Any = importlib.import_module("continual_df.commands.run")
    run.draw_figures = lambda *_: ([], [])  # half of the time of so small a run, and redrawn from files at any time


def import_modules(names: str) -> None:
    """Import what a child had to import, so that the next need not."""
    with contextlib.suppress(FileNotFoundError), open(names) as file:  # noqa: PTH123
        for name in file.read().split():
            if name not in sys.modules:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        os.unlink(names)  # noqa: PTH108
    assert threading.active_count() == 1, threading.enumerate()


def count_calls(order: dict[str, Any], report: int) -> None:
    """Count the calls that make something last, in the file descriptor ``report``, and let one of them go wrong."""
    done = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done - 1 == order["call"] and order["errno"] is None:
                os.kill(os.getpid(), order["number"])
            if order["call"] is not None and done > order["call"] and order["errno"] is not None:
                raise OSError(order["errno"], os.strerror(order["errno"]), args[0])
            os.pwrite(report, f"{done:08d}".encode(), 0)
            return function(*args, **kwargs)

        return call

    for name in LASTING:
        setattr(os, name, counted(getattr(os, name)))


def run(order: dict[str, Any]) -> None:
    """Be the child."""
    os.setsid()
    log = order["log"]
    os.environ.update(order["environment"])
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    report = os.open(f"{log}.calls", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    count_calls(order, report)
    if order["size"] is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (order["size"], order["size"]))
    status = 1
    try:
        status = importlib.import_module("continual_df.cli").main(order["argv"])
    except SystemExit as stop:
        status = int(stop.code or 0)
    except BaseException:  # noqa: BLE001  it must not run on as a second server
        importlib.import_module("traceback").print_exc()
    finally:
        with contextlib.suppress(OSError), open(f"{log}.modules", "w") as file:  # noqa: PTH123
            file.write("\n".join(sys.modules))
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(child: int, order: dict[str, Any]) -> tuple[int, float]:
    """Return status and CPU seconds of ``child``, which gets its signal after ``seconds`` of them."""
    seconds = order["seconds"]
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
        if seconds is not None and cpu_seconds(child) >= seconds:
            (os.killpg if order["group"] else os.kill)(child, order["number"])
            seconds = None
        time.sleep(0.001)


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process that has not been waited for."""
    with open(f"/proc/{process}/stat") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Serve."""
    import_everything()
    assert threading.active_count() == 1, threading.enumerate()
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            run(order)
        status, seconds = wait(child, order)
        with open(order["log"] + ".calls", "rb") as file:  # noqa: PTH123
            calls = int(file.read() or b"0")
        import_modules(order["log"] + ".modules")
        answer = {"status": status, "seconds": seconds, "calls": calls}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
