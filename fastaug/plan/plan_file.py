"""Plans as .npz files, which may be anybody's."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..checks import first_line
from ..files import replacing

_FORMAT = 8

Member = Callable[[str], npt.NDArray[Any]]


class Checked(Protocol):
    """A plan."""

    def check(self) -> None:
        """Raises a ValueError where it cannot be carried out."""


P = TypeVar("P", bound=Checked)


def write(path: str | os.PathLike[str], members: Mapping[str, Any]) -> None:
    """Writes a plan's arrays; nothing is left behind if that fails."""
    with replacing(path) as file:
        np.savez(file, **members, format=_FORMAT)


def read(path: str | os.PathLike[str], make: Callable[[Member], P]) -> P:
    """The plan that ``make`` makes of a file's arrays, by their names, and that is sound.

    Raises:
        OSError: when the file cannot be read.
        ValueError: when it holds no plan of this version, or one that ``check`` refuses.
    """
    data = Path(path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            plan = _made(archive, make)
    except Exception as error:  # zipfile and NumPy raise all kinds for damaged bytes
        raise ValueError(
            f"{os.fspath(path)} is not a plan that this version of fastaug can read (format "
            f"{_FORMAT}): {first_line(error)}; save it again with this version"
        ) from error
    try:
        plan.check()
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)} holds a plan that cannot be carried out: {error}") from None
    return plan


def _made(archive: zipfile.ZipFile, make: Callable[[Member], P]) -> P:
    def array(name: str) -> npt.NDArray[Any]:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type != zipfile.ZIP_STORED:  # may be any size once it is unpacked
            raise ValueError(f"{name} is compressed")
        with archive.open(member) as file:
            return np.lib.format.read_array(file, allow_pickle=False)

    if (found := array("format").tolist()) != _FORMAT:
        raise ValueError(f"it is of format {found}")
    return make(array)
