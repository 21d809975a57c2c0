"""A progress bar for what takes longer than two seconds."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], title: str, total: int, unit: str = " images") -> Iterator[T]:
    """Yields the items; past two seconds a bar on stderr shows how far it is, where it is a terminal."""
    yield from tqdm(
        items, desc=title, total=total, unit=unit, delay=2, file=sys.stderr, disable=None, leave=False
    )
