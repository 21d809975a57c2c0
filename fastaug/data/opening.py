"""From what a user has to a source."""

from __future__ import annotations

from .arrays import Arrays
from .datasets import as_listing
from .scanned import MAX_PIXELS, open_scanned
from .source import Source


def open_source(data: object, max_pixels: int | None = MAX_PIXELS) -> Source:
    """What a user has as a source; files' headers are scanned here, once.

    Args:
        data: a data set, a folder or a ``Listing``: see ``as_listing``.
        max_pixels: images with more cannot be used; None: no limit.

    Raises:
        TypeError, ValueError, FileNotFoundError: naming what is wrong with the data, and what is accepted.
    """
    listing = as_listing(data)
    return Arrays(listing) if listing.arrays is not None else open_scanned(listing, max_pixels)
