"""The command line: finds the command, imports only that one, and turns errors into sentences."""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import NoReturn

from continual_df import __version__
from continual_df.errors import ContinualDFError

COMMANDS = {
    "run": "train a method on a stream, evaluate it after every task",
    "sweep": "make the runs of a grid of methods, streams and seeds; finished ones are skipped",
    "plot": "draw the figures of one or more runs from their logged files",
    "evaluate": "recompute results.json of a run from its predictions",
    "embed": "write the features of a run's images after each task, for the figures of the latent space",
    "neighbours": "show the training images, and the prototypes, that images are nearest to",
    "cluster": "group a run's images by its features, and estimate how many forgery methods there are",
    "compare": "put methods side by side, over seeds, and say which differences are real",
    "audit": "look for leaks, shortcuts and doubtful labels in the data of a run",
    "data": "check a data set for leaks, or build its frame table",
    "forge": "make a data set of procedural forgeries from real face photos",
}


class CommandParser(argparse.ArgumentParser):
    """argparse's parser, whose errors are one line without the usage."""

    def error(self, message: str) -> NoReturn:
        """Print the message and leave with status 2."""
        self.exit(2, f"{self.prog}: {message}\n")


def main(argv: list[str] | None = None) -> int:
    """Run ``continual-df`` with ``argv`` (default: the process's) and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    if debug:
        argv.remove("--debug")
    parser = CommandParser(
        prog="continual-df",
        description="Train face-forgery detectors on streams of forgery methods.",
        epilog="commands:\n" + "\n".join(f"  {name:<12}{text}" for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("command", choices=COMMANDS, metavar="command", help="one of those below; each has its --help")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error (with any command)")
    arguments = parser.parse_args(argv[:1])
    try:
        command = importlib.import_module(f"continual_df.commands.{arguments.command}")
        return int(command.main(argv[1:]))
    except KeyboardInterrupt:
        if debug:
            raise
        return 130
    except ContinualDFError as error:
        if debug:
            raise
        print(f"continual-df {arguments.command}: {_printable(str(error))}", file=sys.stderr)
        return 2


def _printable(text: str) -> str:
    """Return ``text`` with control characters escaped: a file name could hold commands to the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


if __name__ == "__main__":
    sys.exit(main())
