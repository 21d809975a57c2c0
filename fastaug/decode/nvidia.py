"""NVIDIA DALI: loaded on first use, said how to install where it is missing, left alone after a fork."""

from __future__ import annotations

import atexit
import ctypes
import os
import weakref
from collections.abc import Callable
from functools import cache
from typing import Any

_built: list[weakref.ref[Any]] = []
_closes: list[weakref.WeakMethod[Callable[[], None]]] = []


@cache
def load_dali() -> Any:
    """The module ``nvidia.dali``, with ``fn`` and ``types`` loaded.

    Raises:
        ImportError: with the pip line, when DALI is not installed.
    """
    try:
        import nvidia.dali as dali
        import nvidia.dali.fn
        import nvidia.dali.types  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "fastaug decodes images with NVIDIA DALI, on the CPU too, and it is not installed; "
            "run `pip install 'fastaug[cuda12]'` (or `fastaug[cuda13]`)"
        ) from error
    atexit.register(_exit)  # after DALI's own, so that it runs before
    return dali


def close_at_exit(close: Callable[[], None]) -> None:
    """Has a method called when the process ends, before DALI shuts pipelines down that are still in use."""
    _closes[:] = [known for known in _closes if known() is not None] + [weakref.WeakMethod(close)]


def _exit() -> None:
    for close in [known() for known in _closes]:
        if close is not None:
            close()


def built(pipe: Any) -> Any:
    """The pipeline, built."""
    pipe.build()
    _built[:] = [known for known in _built if known() is not None] + [weakref.ref(pipe)]
    return pipe


def _forked() -> None:
    """Takes our pipelines' insides away in a process that was forked off, and keeps them. To be freed
    they wait for threads that are not here; DALI does that when Python ends, if nobody did before."""
    for pipe in [known() for known in _built]:
        inside = getattr(pipe, "_pipe", None)
        if pipe is not None and inside is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(inside))
            pipe._pipe = None
    _built.clear()


os.register_at_fork(after_in_child=_forked)
