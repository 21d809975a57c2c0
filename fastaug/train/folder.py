"""A run's folder: one process at a time writes into it, and nothing is left of a run that never began."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from ..files import sweep
from .config import LAST


class RunFolder:
    """The folder of a run, locked (flock) while it is written into.

    Args:
        path: where; it need not be there yet.
        first: whether this process is the one that writes; others neither lock nor make it.
    """

    def __init__(self, path: str, first: bool) -> None:
        self.path, self._first = Path(path), first
        self._held: int | None = None
        if first and self.path.is_dir():
            self.lock()

    def lock(self) -> None:
        """Locks it.

        Raises:
            ValueError: when another process has locked it.
        """
        if self._held is not None:
            return
        number = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(number)
            raise ValueError(
                f"another process trains into {str(self.path)!r} just now; wait for it, or give another "
                "--output"
            ) from None
        except OSError:  # some file systems have no locks
            pass
        self._held = number

    def begin(self, goes_on: bool) -> None:
        """Makes it, and clears away what killed saves left.

        Raises:
            OSError, ValueError: when it cannot be made, is locked, or holds a run that this one does not go
                on with.
        """
        if not self._first:
            return
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock()
        self.refuse_another_run(goes_on)
        sweep(self.path)

    def refuse_another_run(self, goes_on: bool) -> None:
        """Raises a ValueError when it holds a run that this one does not go on with."""
        if not goes_on and (self.path / LAST).exists():
            raise ValueError(
                f"{str(self.path)!r} holds a run already; go on with it by --resume {self.path}, or give "
                "another --output"
            )

    def close(self) -> None:
        """Lets others have it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None
