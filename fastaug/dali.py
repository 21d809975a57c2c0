"""Loads NVIDIA DALI on first use; without it, says how to install it."""

from __future__ import annotations

from typing import Any


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
    return dali
