"""The `glassbox` command: what `python main.py` does, without a checkout; and the explorer."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from CNN import CNN
from Filters import Conv2D, MaxPool2D
from glassbox._version import __version__
from glassbox.cli.arguments import Options
from glassbox.cli.run import start
from MLP import Adam, Dense, OneCycle


def network(options: Options) -> CNN:
    """The network of main.py; a test keeps the two the same."""
    return CNN(
        Conv2D(8, kernel_size=3, padding="same"), MaxPool2D(2),
        Conv2D(16, kernel_size=3, padding="same"), MaxPool2D(2), Dense(72), Dense(options.classes),
        loss="mse", optimizer=Adam(OneCycle(options.learning_rate)), seed=options.seed,
        threads=options.threads, kernels=options.kernels, eager=options.eager,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command line; report mistakes in a sentence, without a traceback."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="glassbox",
        description="A convolutional network framework in NumPy that you can see through.",
        epilog="Run 'glassbox train --help' for the options of a command.",
    )
    parser.add_argument("--version", action="version", version=f"glassbox {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser(
        "train", add_help=False, help="train main.py's network and write a folder of results"
    )
    commands.add_parser("explore", add_help=False, help="see a network think, on a page")
    if parser.parse_args(given[:1]).command == "explore":
        import_module("glassbox.explorer.__main__").main(given[1:])
        return
    start(network, given[1:], epochs=6, batch_size=32, learning_rate=0.004)
