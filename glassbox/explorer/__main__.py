"""Open the explorer:  python -m glassbox.explorer [FILE, RUN or NAME ...]

Without an argument it opens a small network that comes with Glassbox.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from CNN import CNN
from Datasets import MNIST, Dataset, DataUnavailable, Digits, FashionMNIST, Splits, load
from glassbox.cli.mistakes import told
from glassbox.cli.run import CHECKPOINT, MODEL, prepare_streams
from glassbox.explorer import NEEDED, show
from glassbox.explorer.session import Entry, Session, Stored

SHIPPED = {path.stem: path for path in sorted(Path(__file__).parent.glob("networks/*.safetensors"))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the explorer until Ctrl-C; report mistakes in a sentence, without a traceback."""
    prepare_streams()
    options = _parser().parse_args(arguments)
    try:
        page: Any = make_page(options)
        show(page, not options.no_browser)
        print("Ctrl-C ends it.", flush=True)
        page.run()
    except KeyboardInterrupt:  # the way to end it
        pass
    except Exception as error:
        print(told(error), file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="glassbox explore",
        description="Open a page on which one sees a network think. It is served by this machine "
        "to itself, and nothing leaves it.",
    )
    names = ", ".join(SHIPPED)
    parser.add_argument(
        "networks", nargs="*", metavar="NETWORK",
        help="a model file, the folder of a run under results/, or one of those that come with "
        f"Glassbox: {names}; several can be compared",
    )  # fmt: skip
    parser.add_argument(
        "--dataset", metavar="NAME",
        help="mnist, fashion-mnist, digits, or the path of your own data: images to look at; by "
        "default the set that the network was trained on, if it is found",
    )  # fmt: skip
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of the data files")
    parser.add_argument(
        "--port", type=_port, default=0, help="port of the page; by default the system chooses one"
    )
    parser.add_argument(
        "--host", type=_host, default="127.0.0.1",
        help="address to listen at, if others may open the page, too (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--token", type=_token,
        help="last part of the page's address; with --port it then stays the same after a restart "
        "(by default drawn at random)",
    )  # fmt: skip
    parser.add_argument("--no-browser", action="store_true", help="do not open the page")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text[:9]) <= 65535:
        raise argparse.ArgumentTypeError(f"expected a number of 0..65535, got {text}")
    return int(text)


def _host(text: str) -> str:
    if text in ("", "0.0.0.0", "::"):  # the page answers to one name, by which others reach it
        raise argparse.ArgumentTypeError("expected one address of this machine, not all of them")
    return text


def _token(text: str) -> str:
    if not (16 <= len(text) <= 100 and text.isascii() and text.isalnum()):
        raise argparse.ArgumentTypeError("expected 16 to 100 letters and digits")
    return text


def make_page(options: argparse.Namespace) -> Any:
    """The page of what a command line names."""
    try:
        from glassbox.explorer.page import Page
    except ModuleNotFoundError as error:
        raise ImportError(f"explorer: {NEEDED.format('explorer')}") from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about data: nothing is trained on them
        entries = [entry for name in options.networks or ["mnist"] for entry in entries_of(name)]
        samples: Dataset | None
        if options.dataset:
            samples = part_of(load(options.dataset, folder=options.data_dir))
        else:
            samples = samples_for(entries[0].network(), options.data_dir)
        if samples is None and not options.networks:  # the digits come with scikit-learn
            entries, samples = entries_of("digits"), part_of(Digits())
    if samples is None:
        print("No images to look at were found: draw some, or name a data set with --dataset.")
    return Page(Session(entries, samples), options.host, options.port, options.token)


def entries_of(name: str) -> list[Entry]:
    """The network of a file, the networks of a run, or one that comes with Glassbox.

    Raises ValueError where there is none.
    """
    path = SHIPPED.get(name, Path(name).expanduser())
    if not path.is_dir():
        return [Stored(path.stem, path, CNN.load)]
    epochs = sorted(path.glob("epochs/*.safetensors"), key=lambda each: (len(each.stem), each.stem))
    found = [path / kind for kind in (MODEL, CHECKPOINT) if (path / kind).exists()][:1]
    run = path.resolve().name
    entries: list[Entry] = [Stored(run, each, CNN.load) for each in found]
    for each in epochs:
        if each.stem.isdecimal():
            number = int(each.stem)
            entries.append(Stored(f"{run}, epoch {number}", each, CNN.load, number))
    if not entries:
        raise ValueError(f"{name}: expected a run's folder with {MODEL} in it, and found none")
    return entries


def samples_for(network: CNN, folder: str | None) -> Dataset | None:
    """Test images of the set that a network was trained on, if it is one of ours and at hand."""
    here: Any = {"folder": folder, "download": False}
    for make in (partial(MNIST, **here), partial(FashionMNIST, **here), Digits):
        try:
            data = make()
        except DataUnavailable:
            continue
        if (data.classes, data.shape) == (network.classes, network.input_shape):
            return part_of(data)
    return None


def part_of(data: Splits) -> Dataset:
    """The test images; the training images of a set without."""
    return data.test if len(data.test) else data.train


if __name__ == "__main__":
    main()
