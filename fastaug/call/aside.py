"""Copies of a data set for a look at a sample, which leave the data set itself as it is."""

from __future__ import annotations

import copy
from typing import Any


def aside(dataset: Any) -> Any:
    """A shallow copy of a data set and of those within it; itself where it cannot be copied.

    What it opens when it is first asked (a file, a connection) is then not shared with worker processes.
    """
    try:
        found = copy.copy(dataset)
        for name, value in list(vars(found).items()):
            if name == "dataset":
                setattr(found, name, aside(value))
            elif name == "datasets" and isinstance(value, list):
                setattr(found, name, [aside(part) for part in value])
    except Exception:
        return dataset
    return found
