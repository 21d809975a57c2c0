"""The errors that are fastaug's own; everything else is a ValueError or a TypeError."""

from __future__ import annotations

from .checks import quoted


class DecodeError(RuntimeError):
    """A batch holds files that cannot be decoded. The loader stays usable for the next batch.

    Attributes:
        bad: ``(sample number, path, reason)`` of each file.
        rows: their places in the batch.

    Example:
        >>> error = DecodeError([(3, "a.jpg", "damaged")], [0])
        >>> error.bad[0][0], error.rows
        (3, [0])
    """

    def __init__(self, bad: list[tuple[int, str, str]], rows: list[int]) -> None:
        self.bad, self.rows = bad, rows
        lines = "\n".join(f"  sample {index}: {quoted(name)}: {reason}" for index, name, reason in bad)
        super().__init__(
            f"{len(bad)} of the batch's files cannot be decoded:\n{lines}\n"
            "Repair or remove them; `fastaug verify DIR` finds every bad file of a folder, and "
            "on_error='skip' or 'replace' goes on without them."
        )


class Unrecognised(TypeError):
    """A data set of which fastaug does not know the bytes by number: it can be called for its samples only.

    Example:
        >>> issubclass(Unrecognised, TypeError)
        True
    """


class WorkerError(RuntimeError):
    """A worker process that calls a data set was killed, or does not answer within ``timeout``: the epoch
    ends here. The message names the worker and the sample.

    Example:
        >>> issubclass(WorkerError, RuntimeError)
        True
    """


class TooManyBadFiles(RuntimeError):
    """More files cannot be read than ``max_bad`` allows: the epoch ends here.

    Example:
        >>> issubclass(TooManyBadFiles, RuntimeError)
        True
    """
