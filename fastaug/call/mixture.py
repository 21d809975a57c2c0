"""Several data sets in one loader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..checks import number, shown
from ..data.source import Described, Fetched, Ids, Item, Opened, Source
from ..sampling.epoch import Ticket
from .called import Called
from .calls import Calls

if TYPE_CHECKING:
    from ..build import Pipeline


@dataclass(frozen=True, eq=False)
class Mixture:
    """Several data sets in one loader: each position of an epoch shows one of them, drawn in proportion to
    their weights and keyed by (seed, epoch, position); each is gone through without replacement, again when
    it is at its end.

    Args:
        parts: name: (data, weight) of each data set; the data as ``fastaug.loader`` takes it, the weight at
            least 0. An epoch has as many samples as all together, or ``epoch_length=``.

    Example:
        >>> import fastaug
        >>> import numpy as np
        >>> few, many = ((np.zeros((n, 8, 8, 3), np.uint8), np.zeros(n, int)) for n in (4, 12))
        >>> mixture = fastaug.Mixture({"few": (few, 1), "many": (many, 1)})
        >>> with fastaug.loader(mixture, 8, True, augment=[], seed=0) as loader:
        ...     len(loader)
        2
    """

    parts: Mapping[str, tuple[Any, float]]

    def __post_init__(self) -> None:
        if not isinstance(self.parts, Mapping) or not self.parts:
            raise TypeError(f"Mixture takes {{name: (data, weight)}}, not {shown(self.parts)}")
        for name, part in self.parts.items():
            if not isinstance(part, tuple) or len(part) != 2:
                raise TypeError(f"Mixture part {name!r} must be (data, weight), not {shown(part)}")
            number(f"Mixture weight of {name!r}", part[1], 0, float("inf"))
        if not sum(weight for _, weight in self.parts.values()) > 0:
            raise ValueError("Mixture weights must not all be 0")


class Parts:
    """A Mixture as a source: its samples are numbered one part after another.

    Args:
        names: of the parts.
        sources: the parts.
        weights: of each.
    """

    def __init__(self, names: Sequence[str], sources: Sequence[Source], weights: Sequence[float]) -> None:
        self.sources, self.weights, self._titles = list(sources), tuple(weights), list(names)
        self.counts = tuple(len(source) for source in sources)
        self.first = np.cumsum(self.counts) - self.counts
        self.names, self.classes = sources[0].names, sources[0].classes
        self.in_memory = all(source.in_memory for source in sources)
        said = (f"{n!r} {w:g}: {s.summary}" for n, w, s in zip(names, weights, sources, strict=True))
        self.summary = f"{len(self):,} samples, a mixture of " + "; ".join(said)

    def __len__(self) -> int:
        return sum(self.counts)

    def part(self, i: int) -> tuple[int, int]:
        """A sample's part, and its number there."""
        k = int(np.searchsorted(self.first, i, side="right")) - 1
        return k, i - int(self.first[k])

    def sizes(self) -> tuple[Ids, Ids, Ids]:
        found = [source.sizes() for source in self.sources]
        ids = [each[0] + first for each, first in zip(found, self.first, strict=True)]
        height, width = (np.concatenate([each[k] for each in found]) for k in (1, 2))
        return np.concatenate(ids), height, width

    def bad(self) -> Ids:
        return np.concatenate([s.bad() + first for s, first in zip(self.sources, self.first, strict=True)])

    def largest_label(self) -> tuple[int, int] | None:
        each = [source.largest_label() for source in self.sources]
        known = [(*pair, int(first)) for pair, first in zip(each, self.first, strict=True) if pair]
        if len(known) < len(each):
            return None
        return max((label, own + first) for label, own, first in known)

    def labels(self) -> Ids | None:
        each = [source.labels() for source in self.sources]
        known = [ids for ids in each if ids is not None]
        return np.concatenate(known) if len(known) == len(each) else None

    def name(self, i: int) -> str:
        k, own = self.part(i)
        return self.sources[k].name(own)

    def reason(self, i: int) -> str:
        k, own = self.part(i)
        return self.sources[k].reason(own)

    def identity(self) -> dict[str, Any]:
        each = [source.identity() for source in self.sources]
        names = {
            title: [part["names"], part["labels"]] for title, part in zip(self._titles, each, strict=True)
        }
        return {"samples": len(self), "names": repr(names), "labels": ""}


class OpenParts:
    """The same at work.

    Args:
        parts: the source.
        pipeline: the loader's.
    """

    def __init__(self, parts: Parts, pipeline: Pipeline) -> None:
        self._parts = parts
        self._open: list[Opened] = [
            Calls(s, pipeline) if isinstance(s, Called) else cast(Opened, s) for s in parts.sources
        ]
        self._of: WeakKeyDictionary[Ticket, list[tuple[int, npt.NDArray[np.intp], Ticket]]] = (
            WeakKeyDictionary()
        )

    def __len__(self) -> int:
        return len(self._parts)

    def name(self, i: int) -> str:
        return self._parts.name(i)

    @property
    def _calls(self) -> list[Calls]:
        return [part for part in self._open if isinstance(part, Calls)]

    def _split(self, ticket: Ticket) -> list[tuple[int, npt.NDArray[np.intp], Ticket]]:
        """Of each part that is in a ticket: its number, the rows, and the ticket of these."""
        which = np.searchsorted(self._parts.first, ticket.ids, side="right") - 1
        out = []
        for k in np.unique(which).tolist():
            rows, first = np.flatnonzero(which == k), int(self._parts.first[k])
            some = ticket.take(rows)
            out.append((k, rows, replace(some, ids=some.ids - first, offset=ticket.offset + first)))
        return out

    def ask(self, ticket: Ticket, owner: object) -> None:
        self._of[ticket] = self._split(ticket)
        for k, _, own in self._of[ticket]:
            part = self._open[k]
            if isinstance(part, Calls):
                part.ask(own, owner)

    def begin(self, owner: object) -> None:
        for part in self._calls:
            part.begin(owner)

    def doing(self, ticket: Ticket) -> str:
        parts = ((self._open[k], own) for k, _, own in self._of.get(ticket, []))
        return " and ".join(filter(None, (part.doing(own) for part, own in parts if isinstance(part, Calls))))

    def end(self, owner: object) -> None:
        for part in self._calls:
            part.end(owner)

    def failed(self, owner: object) -> None:
        for part in self._calls:
            part.failed(owner)

    def describe(self, ticket: Ticket) -> Described:
        n, each = len(ticket.ids), []
        for k, rows, own in self._of.get(ticket) or self._split(ticket):
            each.append((self._open[k], rows, self._open[k].describe(own)))
        out = Described(
            ticket.ids, np.ones(n, np.int64), np.ones(n, np.int64), np.zeros(n, np.uint8), np.zeros(n, object)
        )
        if all(found.fields.dtype != object for _, _, found in each):
            out = replace(out, fields=np.zeros(n, np.int64))
        faults: dict[int, str] = {}
        for _, rows, found in each:
            out.height[rows], out.width[rows], out.kind[rows] = found.height, found.width, found.kind
            tuples = out.fields.dtype == object and found.fields.dtype != object
            for row, held in zip(rows, found.fields.tolist(), strict=True):
                out.fields[row] = (held,) if tuples else held
            faults |= {int(rows[k]): why for k, why in found.faults.items()}
        return replace(out, faults=faults, parts=each)

    def fetch(self, described: Described, which: Ids, boxes: npt.NDArray[np.int32]) -> Fetched:
        out: list[Any] = [None] * len(which)
        for part, rows, found in described.parts or ():
            place = np.full(len(described.ids), -1)
            place[rows] = np.arange(len(rows))
            mine = np.flatnonzero(place[which] >= 0)
            items: Sequence[Item | Any] = (
                part.fetch(found, place[which[mine]], boxes[mine]) if len(mine) else []
            )
            for k, item in zip(mine.tolist(), items, strict=True):
                out[k] = item
        return out

    def close(self) -> None:
        for part in self._calls:
            part.close()
