"""From what a user has to a source of images that are known by number."""

from __future__ import annotations

from .arrays import Arrays
from .datasets import as_listing
from .listing import Listing
from .scanned import MAX_PIXELS, Scanned, open_scanned


def open_source(data: object, max_pixels: int | None = MAX_PIXELS) -> Arrays | Scanned:
    """What a user has as a source; files' headers are scanned here, once.

    Args:
        data: a data set, a folder or a ``Listing``: see ``as_listing``.
        max_pixels: images with more cannot be used; None: no limit.

    Raises:
        TypeError, ValueError, FileNotFoundError: naming what is wrong with the data, and what is accepted.
    """
    return opened_listing(as_listing(data), max_pixels)


def opened_listing(listing: Listing, max_pixels: int | None) -> Arrays | Scanned:
    """A listing as a source."""
    return Arrays(listing) if listing.arrays is not None else open_scanned(listing, max_pixels)
