"""What the line asks of a user's data: sizes before a batch is planned, bytes or pixels after, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from ..sampling.epoch import Ticket

Ids = npt.NDArray[np.int64]


class Kind(IntEnum):
    """What an image is, by its header.

    ``SEQUENTIAL`` is a JPEG that the box decoder takes, ``OTHER`` what Pillow decodes, ``CROPPED`` a
    ``Cropped``.
    """

    UNKNOWN = 0
    PIXELS = 1
    JPEG = 2
    PNG = 3
    WEBP = 4
    BMP = 5
    TIFF = 6
    PNM = 7
    OTHER = 8
    SEQUENTIAL = 9
    CROPPED = 10


OF_KIND = 0x0F  # the kind's bits; beside them:
TURN = 4  # from this bit on, three: EXIF's orientation less 1; 0 where it was not looked at
PROFILE = 0x80  # a colour profile is embedded


@dataclass(frozen=True, eq=False)
class Described:
    """What is known of a batch's images before they are read.

    Attributes:
        ids: int64 ``[B]``, the samples' numbers.
        height: int64 ``[B]``, pixels, after EXIF orientation; 1 where it is not known.
        width: the same of the widths.
        kind: uint8 ``[B]``, a ``Kind`` each, with the bits TURN and PROFILE.
        fields: ``[B]``, what comes with each image: class ids (int64), or a tuple each (object).
        faults: for each row whose image cannot be used, why.
        items: images that are there already, from a data set that was called; None: ``fetch`` gets them.
        parts: of several data sets, each with its rows and what is known of them.
    """

    ids: Ids
    height: npt.NDArray[np.int64]
    width: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    fields: npt.NDArray[Any]
    faults: dict[int, str] = field(default_factory=dict)
    items: Sequence[Item | Fault] | None = None
    parts: Sequence[tuple[Any, Any, Described]] | None = None


class Tiles(NamedTuple):
    """Where the decoding of a JPEG can begin, by an entropy index.

    Attributes:
        address: of uint16, as kernels/jpeg_index.h describes them.
        words: how many.
        tile: pixels from one to the next; 0: one for each MCU row.
        checksum: of the JPEG and the tiles.
        owner: keeps the memory alive.
    """

    address: int
    words: int
    tile: int
    checksum: int
    owner: object


@dataclass(frozen=True, eq=False)
class FilePath:
    """An encoded image in a file.

    Attributes:
        data: uint8, the path's file-system bytes.
        tiles: where its decoding can begin; None: not known.
    """

    data: npt.NDArray[np.uint8]
    tiles: Tiles | None = None


@dataclass(frozen=True, eq=False)
class Encoded:
    """An encoded image in memory.

    Attributes:
        data: uint8, its bytes.
    """

    data: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pixels:
    """A decoded image.

    Attributes:
        array: uint8 ``[H, W, 3]``, RGB, the pixels of a line side by side.
    """

    array: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Cropped:
    """What outputs show of an image, cropped, scaled and mirrored already.

    Attributes:
        views: for each view ``[H, W, C]`` of the output's size, as the raster has it.
    """

    views: Sequence[npt.NDArray[Any]]


@dataclass(frozen=True)
class Fault:
    """Why an image cannot be read."""

    reason: str


class Stack(Sequence[Pixels]):
    """Images of one array, of which no objects are made one by one.

    Args:
        arrays: uint8 ``[N, H, W, 3]``, contiguous.
        ids: int64 ``[B]``, which of them.
    """

    def __init__(self, arrays: npt.NDArray[np.uint8], ids: Ids) -> None:
        self.arrays, self.ids = arrays, ids

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, k: Any) -> Any:
        return Pixels(self.arrays[self.ids[k]])

    def memory(self) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
        """The images' addresses, uint64 ``[B]``, and the bytes from one line of each to the next."""
        image, line, *_ = self.arrays.strides
        addresses = (self.arrays.ctypes.data + self.ids * image).astype(np.uint64)
        return addresses, np.full(len(self.ids), line, np.int64)


Item = FilePath | Encoded | Pixels | Cropped
Fetched = Sequence[Item | Fault]


class Opened(Protocol):
    """Samples at work. Methods may be called from several threads at once."""

    def __len__(self) -> int:
        """The number of samples."""

    def name(self, i: int) -> str:
        """A sample's path, or its place in the data."""

    def describe(self, ticket: Ticket) -> Described:
        """What is known of some samples' images, and what comes with them."""

    def fetch(self, described: Described, which: Ids, boxes: npt.NDArray[np.int32]) -> Fetched:
        """Images, whole, or a fault each.

        Args:
            described: what ``describe`` gave.
            which: int64 ``[K]``, rows of it.
            boxes: int32 ``[K, 4]``, (y0, x0, h, w): no other pixels are needed.
        """


class Source(Protocol):
    """Samples by number. Methods may be called from several threads at once.

    A ticket says for which batch something is asked; files and arrays look at its samples' numbers alone.
    """

    classes: list[str] | None  # class names by label, where there are any
    summary: str  # for people: how many samples, where, of what kind
    names: tuple[str, ...]  # of the parts of a sample, the image first
    in_memory: bool  # whether images are pixels already, so that nothing has to be decoded

    def __len__(self) -> int:
        """The number of samples."""

    def sizes(self) -> tuple[Ids, Ids, Ids]:
        """Numbers of samples whose sizes are known before the first epoch, with their heights and widths; one
        where all are equal."""

    def bad(self) -> Ids:
        """Numbers of the samples that cannot be used, as far as that is known by now."""

    def largest_label(self) -> tuple[int, int] | None:
        """The largest label, and the number of a sample that has it; None where labels are no class ids, or
        not known before the samples are."""

    def labels(self) -> Ids | None:
        """The class ids of all samples, int64 ``[N]``; None where they are no class ids, or not known."""

    def name(self, i: int) -> str:
        """A sample's path, or its place in the data."""

    def reason(self, i: int) -> str:
        """Why a sample cannot be used; "" when it can, as far as that is known."""

    def identity(self) -> dict[str, Any]:
        """What is the same for the same data elsewhere, JSON-able: names count from their common folder
        on."""
