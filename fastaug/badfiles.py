"""What becomes of files that cannot be read: how many there are, and which samples stand in for them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from .checks import quoted
from .data.source import Described, Opened, Source
from .errors import DecodeError, TooManyBadFiles
from .ops.mixing import Mixing
from .plan.planner import Planner, ViewsPlanner, usable
from .plan.views_plan import Plan
from .sampling.epoch import Ticket
from .sampling.philox import EPOCH_BITS, MOST_VISITS, U32, Keys, Stream

log = logging.getLogger("fastaug")

MODES = ("raise", "skip", "replace")
_DRAWS = 100  # samples drawn, at most, in place of one that cannot be read


class BadFiles:
    """The files that could not be read so far, and whether those are too many.

    Args:
        source: the data; what it knows to be bad counts from the start.
        limit: how many there may be, or None.
    """

    def __init__(self, source: Source, limit: int | None) -> None:
        self.reasons = dict.fromkeys(source.bad().tolist(), "")  # found out when they are asked for
        self._source, self._limit = source, limit
        self._told: set[int] = set()

    def note(self, error: DecodeError) -> None:
        """Remembers the files of an error, and logs each once."""
        for i, name, reason in error.bad:
            self.reasons[i] = self.reasons.get(i) or reason
            if i not in self._told:
                self._told.add(i)
                log.warning("fastaug: %s cannot be read: %s", quoted(name), reason)

    def named(self) -> dict[str, str]:
        """Path and reason of each, in the data set's order."""
        return {self._source.name(i): self._reason(i) for i in sorted(self.reasons)}

    def _reason(self, i: int) -> str:
        return self.reasons[i] or self._source.reason(i) or "could not be read at first"

    def check(self) -> None:
        """Raises TooManyBadFiles past the limit."""
        bad, n = len(self.reasons), len(self._source)
        if self._limit is None or bad <= self._limit:
            return
        first = min(list(self.reasons))  # a copy: other threads add to it
        raise TooManyBadFiles(
            f"{bad} of the data set's {n} files cannot be read, and max_bad allows {self._limit}; the first: "
            f"{quoted(self._source.name(first))}: {self._reason(first)}. bad_files names all, and `fastaug "
            "verify DIR` finds those of a folder; repair or remove them, or raise max_bad (None: no limit)"
        )


class StandIns:
    """Draws other samples for rows that cannot be read.

    A row's candidates are keyed by (seed, epoch, sample), so that a batch comes out the same after a
    resume; each is tried as if it were new, whatever is known of it, for the same reason.

    Args:
        source: the data.
        n: its number of samples.
        planner: draws a candidate's crop, flip, policy and masks.
        ask: is told of a ticket before it is described.
    """

    def __init__(
        self, source: Opened, planner: Planner | ViewsPlanner, ask: Callable[[Ticket], None]
    ) -> None:
        self._source, self._planner, self._ask = source, planner, ask

    def replace(
        self, asked: Plan, plan: Plan, rows: list[int], draws: dict[int, int]
    ) -> tuple[Plan, Described]:
        """The plan with the next candidate in each of the rows, and what is known of these; mixing stays as
        it was.

        Args:
            asked: the batch as it was drawn first.
            plan: the same rows, some of them with stand-ins already.
            rows: the rows that cannot be read.
            draws: how many candidates each row has had; counted on here.

        Raises:
            TooManyBadFiles: when a row has had all its candidates.
        """
        where, visit = (np.array(v) for v in zip(*(self._draw(asked, k, draws) for k in rows), strict=True))
        first = plan.views[0]
        visit, repeat = visit.astype(U32), first["repeat"][rows] > 0
        rank = int(first["epoch"][0]) >> EPOCH_BITS
        ticket = Ticket(where, visit, repeat, first.seed, first.epoch, first.step, rank, rank_keyed=True)
        self._ask(ticket)
        described = usable(self._planner, self._source.describe(ticket))
        drawn: Any = self._planner.plan(ticket, described.height, described.width)
        for view, own in zip(plan.views, drawn.views, strict=True):
            for column in Mixing.columns.names or ():
                own.rows[column] = view[column][rows]
        return plan.put(rows, drawn), described

    def _draw(self, plan: Plan, row: int, draws: dict[int, int]) -> tuple[int, int]:
        """A row's next candidate, and as which visit to it its augmentations are drawn."""
        n, number, asked = len(self._source), draws.get(row, 0), plan.views[0]
        if number == _DRAWS:
            name = quoted(self._source.name(int(asked["index"][row])))
            raise TooManyBadFiles(
                f"{_DRAWS} samples were drawn to stand in for {name}, and none can be "
                "read; check that the disk with the images is there"
            )
        draws[row] = number + 1
        keys = Keys(
            asked.seed, asked["index"][[row]].astype(U32), asked["epoch"][[row]], asked["occurrence"][[row]]
        )
        sample, visit, *_ = keys.words(Stream.STAND_IN, 1, number)[:, 0].tolist()
        # A visit beyond any that a sampler makes: its crop differs from the sample's own.
        return sample * n >> 32, MOST_VISITS | visit % MOST_VISITS
