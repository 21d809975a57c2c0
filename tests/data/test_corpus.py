"""Files that Pillow, tifffile, imageio and ImageMagick write, and hand-made ones, beside Pillow: the same
pixels, or a row of the table in docs/formats.md."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageOps

from fastaug.data.opening import open_source
from fastaug.data.source import OF_KIND, Kind
from fastaug.decode.decoders import Router
from fastaug.decode.graphs import Decode
from fastaug.sampling.epoch import Ticket

from .. import written_by
from ..decoding import box_of
from ..kinds import kinds
from ..kinds_tiff import grid, others

NEAR = 2  # levels between two decoders
TABLE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()


class Seen(NamedTuple):
    """An image to one of the two.

    Attributes:
        pixels: uint8 ``[H, W, 3]``; None: refused.
        mode: Pillow's.
        reason: of a refusal.
    """

    pixels: np.ndarray | None
    mode: str = ""
    reason: str = ""


def to_pillow(data: bytes) -> Seen:
    """As torchvision's ImageFolder loads it, and turned by EXIF."""
    try:
        image = Image.open(io.BytesIO(data))
        mode = image.mode
        return Seen(np.asarray(ImageOps.exif_transpose(image).convert("RGB")), mode)
    except Exception as error:
        return Seen(None, reason=str(error))


def row_of_the_table(ours: Seen, theirs: Seen, way: Kind) -> str:
    """By which difference two outcomes are explained; "" where they are the same."""
    if ours.pixels is None:
        return "" if theirs.pixels is None else "unexplained: refused"
    if theirs.pixels is None:
        return "Samples of 10, 12 and 14 bits" if way in (Kind.TIFF, Kind.BMP) else "unexplained: loaded"
    if ours.pixels.shape != theirs.pixels.shape:
        return "unexplained: size"
    if np.abs(ours.pixels.astype(int) - theirs.pixels).max() <= NEAR:
        return ""
    return "Gray of 16 bits" if theirs.mode.startswith("I") else "unexplained: pixels"


def compared(files: Iterable[tuple[str, bytes]]) -> tuple[Counter[str], list[str], Counter[str]]:
    """How often each row of the table was met, what no row explains, and by whom images were decoded."""
    named = list(files)
    source = open_source([(data, 0) for _, data in named])
    described, router = source.describe(Ticket.of(np.arange(len(named)))), Router(Decode(), 1, 1, None)
    rows, unexplained, ways = Counter[str](), [], Counter[str]()
    for i, (name, data) in enumerate(named):
        ours, way = Seen(None, reason=described.faults.get(i, "")), Kind(described.kind[i] & OF_KIND)
        if not ours.reason:
            try:
                whole = (0, 0, int(described.height[i]), int(described.width[i]))
                ours = Seen(box_of(source, i, whole, router))
            except ValueError as error:
                ours = Seen(None, reason=str(error))
        row = row_of_the_table(ours, to_pillow(data), way)
        rows[row] += 1
        ways["refused" if ours.pixels is None else "Pillow" if way == Kind.OTHER else "DALI"] += 1
        if row.startswith("unexplained"):
            unexplained.append(f"{name}: {row}, {way.name}, {ours.reason!r}")
        if ours.pixels is None and not ours.reason.startswith(
            ("not supported: ", "damaged: ", "no readable ")
        ):
            unexplained.append(f"{name}: {ours.reason!r}")
    router.close()
    return rows, unexplained, ways


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def test_what_others_write_comes_as_pillow_shows_it():
    files = [*written_by.by_pillow(), *written_by.by_tifffile(), *written_by.by_imageio()]
    assert len(files) >= 400
    rows, unexplained, ways = compared(files)
    assert unexplained == []
    assert rows["Gray of 16 bits"] > 20
    assert min(ways["DALI"], ways["Pillow"]) > 150


@pytest.mark.release
def test_what_imagemagick_writes_comes_as_pillow_shows_it(tmp_path):
    files = list(written_by.by_imagemagick(tmp_path))
    if not files:
        pytest.skip("ImageMagick is not installed: apt-get install imagemagick")
    rows, unexplained, _ = compared(files)
    assert len(files) > 200
    assert unexplained == []
    assert rows["Samples of 10, 12 and 14 bits"] > 4


@pytest.mark.parametrize("all_of_them", [False, pytest.param(True, marks=pytest.mark.release)])
def test_hand_made_files_come_as_pillow_shows_them(all_of_them):
    files = [(name, kind.data) for name, kind in kinds().items()]
    files += [(name, kind.data) for name, kind in others()]
    files += [(name, kind.data) for name, kind in list(grid())[:: 1 if all_of_them else 37]]
    _, unexplained, _ = compared(files)
    assert unexplained == []


@pytest.mark.parametrize("row", ["Gray of 16 bits", "Samples of 10, 12 and 14 bits"])
def test_the_table_has_every_row(row):
    assert f"| {row} |" in TABLE
