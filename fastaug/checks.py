"""Checks of what a user passes: each error names the value, what is accepted and the remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

MAX_SIZE = 8192  # pixels along a side of an output image
IN_MEMORY = " (in memory)"  # how names of samples end that are no files
_VECTOR = 64  # numbers of an array that is taken for a tuple


def plain(value: Any) -> Any:
    """NumPy's and torch's numbers as Python's, in lists and tuples too, and their short vectors as tuples;
    all else as it is."""
    dimensions = getattr(value, "ndim", None)
    if dimensions == 0 and hasattr(value, "item"):
        return value.item()
    if dimensions == 1 and hasattr(value, "tolist") and len(value) <= _VECTOR:
        return tuple(value.tolist())
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


def number(
    where: str, value: object, low: float, high: float, *, above: bool = False, below: bool = False
) -> float:
    """A finite number in [low, high]; with ``above`` and ``below`` without low and without high."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{where} must be a number, not {value!r} ({type(value).__name__})")
    fits = (low < value if above else low <= value) and (value < high if below else value <= high)
    if not fits or not math.isfinite(value):
        bounds = f"{'above' if above else 'at least'} {low:g}"
        if high < math.inf:
            bounds += f" and {'below' if below else 'at most'} {high:g}"
        raise ValueError(f"{where} must be {bounds}, not {value!r}")
    return float(value)


def whole(where: str, value: object, low: int, high: float = math.inf) -> int:
    """A whole number in [low, high]."""
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{where} must be a whole number, not {value!r} ({type(value).__name__})")
    number(where, value, low, high)
    return value


def interval(where: str, value: object, low: float, high: float = math.inf) -> tuple[float, float]:
    """An ascending pair of numbers, each in (low, high]."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{where} must be a pair (low, high), not {value!r}")
    first, second = (number(f"{where}[{k}]", v, low, high, above=True) for k, v in enumerate(value))
    if first > second:
        raise ValueError(
            f"{where} must be (low, high) with low <= high, not {tuple(value)!r}; "
            f"did you mean {(value[1], value[0])!r}?"
        )
    return first, second


def size_pair(where: str, value: object) -> tuple[int, int]:
    """``224`` or ``(height, width)`` as (height, width)."""
    pair = value if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{where} must be a side or (height, width), not {value!r}")
    return whole(where, pair[0], 1, MAX_SIZE), whole(where, pair[1], 1, MAX_SIZE)


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Says in an error what it is about; "" for nothing."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if not where:
            raise
        raise (TypeError if isinstance(error, TypeError) else ValueError)(f"{where}: {error}") from error


def one_of(where: str, value: object, accepted: Sequence[object]) -> None:
    """One of a few accepted values."""
    if value not in accepted:
        raise ValueError(f"{where} must be one of {', '.join(map(repr, accepted))}, not {value!r}")


def colour(
    where: str, value: object, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float, float]:
    """A number or three numbers in [low, high] as three numbers."""
    triple = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * 3
    if len(triple) != 3:
        raise ValueError(f"{where} must be a number or three (red, green, blue), not {value!r}")
    r, g, b = (number(where, v, low, high) for v in triple)
    return r, g, b


def channel_values(where: str, value: object) -> tuple[float, ...]:
    """A number, which counts for three channels, or 1 to 16 numbers, one for each."""
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else (value,) * 3
    if not 1 <= len(values) <= 16:
        raise ValueError(f"{where} must be a number or one for each of up to 16 channels, not {value!r}")
    return tuple(number(where, v, -math.inf, math.inf) for v in values)


def shown(value: object, most: int = 60) -> str:
    """A value for a message: on one line, of at most so many characters."""
    text = re.sub(r"\s+", " ", repr(value))
    return text if len(text) <= most else text[: most - 3] + "..."


def quoted(name: str) -> str:
    """What a message calls a sample: a path in quotes, with what cannot be printed escaped."""
    return name if name.endswith(IN_MEMORY) else repr(name)


def first_line(error: Exception) -> str:
    """What an error says first, or its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
