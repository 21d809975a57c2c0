"""The command ``fastaug``: demo, preview, inspect, verify, index, train, advise, doctor."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np

from ..checks import quoted
from ..data.datasets import as_listing
from ..data.entropy import TILE
from ..data.listing import counted
from ..data.scanned import open_scanned
from ..recipes import NAMES
from . import doctor


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit status: 0 fine, 1 bad files, 2 wrong input."""
    parser = argparse.ArgumentParser(prog="fastaug", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser("demo", help="photographs through the loader: a picture and images/s")
    demo.add_argument("-o", "--output", default="demo", help="folder for the picture (default: demo)")
    preview = commands.add_parser("preview", help="a contact sheet of your own images")
    preview.add_argument("folder")
    preview.add_argument(
        "--augment",
        nargs="+",
        default=["all"],
        metavar="NAME",
        help=f"recipes ({', '.join(NAMES)}), or all: a row for each augmentation",
    )
    preview.add_argument("--columns", type=int, default=8)
    preview.add_argument("--seed", type=int, default=0)
    preview.add_argument("-o", "--output", default="sheet.png")
    inspect = commands.add_parser("inspect", help="counts, classes, sizes and unreadable files")
    inspect.add_argument("folder")
    commands.add_parser("train", add_help=False, help="a classifier; fastaug train --help")
    advise = commands.add_parser("advise", help="is a trained network over- or under-fitted, what to change")
    advise.add_argument("folder", help="the run's --output")
    verify = commands.add_parser("verify", help="decodes every image of a folder and names the bad files")
    verify.add_argument("folder")
    verify.add_argument(
        "--fix-list",
        metavar="FILE",
        help="where the bad files' paths go, each ended by a NUL byte: for xargs -0",
    )
    index = commands.add_parser("index", help="notes where crops of a folder's JPEGs begin: faster decoding")
    index.add_argument("folder")
    index.add_argument(
        "--tile",
        type=_tile,
        default=TILE,
        metavar="PIXELS|row",
        help="between two places: a power of two from 16 on, or row, one for each row (default: %(default)s)",
    )
    index.add_argument("--limit", type=int, metavar="BYTES", help="JPEGs beyond are left out")
    commands.add_parser("doctor", help="what is installed, what does not fit, what to install")
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["train"]:  # has a parser of its own
        return _train(arguments[1:])
    args = parser.parse_args(arguments)
    try:
        if args.command == "demo":
            from .demo import demo as run_demo

            run_demo(args.output)
            return 0
        if args.command == "preview":
            return _preview(args)
        if args.command == "inspect":
            return _inspect(args.folder)
        if args.command == "advise":
            from ..train.advice import advise_folder

            print(advise_folder(args.folder))
            return 0
        if args.command == "verify":
            from .verify import verify as run_verify

            return run_verify(args.folder, args.fix_list)
        if args.command == "index":
            from .index import index as run_index

            return run_index(args.folder, args.tile, args.limit)
        print("\n".join(doctor.report()))
        return 0
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        print(f"fastaug: {error}", file=sys.stderr)
        return 2


def _tile(text: str) -> int:
    pixels = 0 if text == "row" else int(text) if text.isdecimal() else -1
    if text != "row" and (pixels < 16 or pixels & (pixels - 1) or pixels > 1 << 15):
        raise argparse.ArgumentTypeError(f"{text!r} is neither row nor a power of two from 16 to 32768")
    return pixels


def _train(arguments: Sequence[str]) -> int:
    from ..train.__main__ import main as train

    return train(arguments)


def _preview(args: argparse.Namespace) -> int:
    from .sheet import gallery, render, save

    rows = dict(gallery(160)) if args.augment == ["all"] else {name: name for name in args.augment}
    save(render(args.folder, rows, args.columns, args.seed), args.output)
    print(f"{args.output}: {len(rows)} rows of {args.columns} images")
    return 0


def _inspect(folder: str) -> int:
    listing = as_listing(folder)
    source = open_scanned(listing)
    count = np.bincount(listing.labels, minlength=len(source.classes or []))
    print(f"{len(source)} images in {len(count)} classes, {count.min()} to {count.max()} a class")
    for name, images in list(zip(source.classes or [], count, strict=True))[:20]:
        print(f"  {images:7}  {name}")
    if len(count) > 20:
        print(f"  … and {len(count) - 20} more classes")
    _, height, width = source.sizes()
    short = np.minimum(height, width)
    print(f"shorter side: {short.min()} to {short.max()} pixels, median {int(np.median(short))}")
    edges = [0, 32, 64, 128, 224, 256, 384, 512, 768, 1024, 2048, 1 << 30]
    histogram, _ = np.histogram(short, edges)
    for low, high, images in zip(edges, edges[1:], histogram, strict=False):
        if images:
            label = f"{low}–{high - 1}" if high < 1 << 30 else f"{low} and more"
            print(f"  {label:>14} {images:7}  {'█' * max(1, round(40 * images / histogram.max()))}")
    shapes = Counter(zip(height.tolist(), width.tolist(), strict=True))
    (h, w), images = shapes.most_common(1)[0]
    print(f"{len(shapes)} sizes, {h}x{w} (height x width) the most common: {images} images")
    print("decoded " + ", ".join(f"by {name}: {count}" for name, count in source.decoders().items() if count))
    if listing.left_out:
        print(f"left out: {counted(listing.left_out)}")
    bad = [f"{quoted(source.name(int(i)))}: {source.reason(int(i))}" for i in source.bad()]
    print(f"{len(bad)} unreadable files" + (":" if bad else ""))
    for line in bad:
        print(f"  {line}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
