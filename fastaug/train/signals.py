"""SIGTERM and Ctrl-C: noted when they come, acted on between steps, by all ranks together."""

from __future__ import annotations

import signal
from pathlib import Path

import torch

from .distributed import Group

NOTED = (signal.SIGTERM, signal.SIGINT)


class Interrupted(Exception):
    """A signal came; the run is saved.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int, path: Path) -> None:
        self.number = number
        super().__init__(f"{signal.Signals(number).name}: saved {path}; go on with --resume {path.parent}")


class Signals:
    """While inside, SIGTERM and SIGINT are noted; a second SIGINT interrupts as usual."""

    def __init__(self, group: Group) -> None:
        self._group, self._noted = group, 0

    def __enter__(self) -> Signals:
        self._before = {number: signal.signal(number, self._note) for number in NOTED}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        if self._noted and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._noted = number

    def sent(self) -> int:
        """The signal that any rank was sent, or 0; the same on every rank."""
        own = torch.tensor([self._noted == number for number in NOTED], dtype=torch.int64)
        found = self._group.total(own.to(self._group.device)).tolist()
        return next((int(number) for number, count in zip(NOTED, found, strict=True) if count), 0)
