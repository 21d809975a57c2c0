"""Callables that are lists of transforms: those that torchvision's users write to make several views of an
image, read by calling them with recorders in their transforms' places."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import torch
from PIL import Image

from ..sampling.given import preserved, states_now


class _Recorder:
    """Stands for a transform; what it returns stands for the view."""

    def __init__(self, transform: object, image: object, made: list[tuple[object, object]]) -> None:
        self._transform, self._image, self._made = transform, image, made

    def __call__(self, image: object) -> object:
        if image is not self._image:
            raise ValueError("it is given something else than the image")
        view = object()
        self._made.append((view, self._transform))
        return view


def several(transform: Any) -> list[object] | None:
    """The transforms whose results are all that a callable returns, in a list or tuple, each given the image
    itself; None of what is no such callable, or draws random numbers besides.

    It is called once, with a small image, while its attributes, or a list's members, are recorders.
    """
    held = getattr(transform, "__dict__", None)
    if isinstance(transform, type) or not callable(transform) or not isinstance(held, dict):
        return None
    image, made = Image.new("RGB", (32, 32)), list[tuple[object, object]]()
    with preserved():
        before = pickle.dumps(states_now())
        try:
            stand_in: Any = copy.copy(transform)
            if isinstance(transform, list):
                stand_in[:] = [_recording(value, image, made) for value in transform]
            stand_in.__dict__.update({name: _recording(value, image, made) for name, value in held.items()})
            views = stand_in(image)
        except Exception:
            return None
        if pickle.dumps(states_now()) != before:
            return None
    known = {id(view): given for view, given in made}
    if not isinstance(views, (list, tuple)) or not views or len(views) != len(made):
        return None
    found = [known.get(id(view)) for view in views]
    return None if None in found or len({id(view) for view in views}) < len(views) else found


def _recording(value: Any, image: object, made: list[tuple[object, object]]) -> Any:
    """Recorders in the place of all that can be called."""
    if isinstance(value, (list, tuple, torch.nn.ModuleList)) and not hasattr(value, "_fields"):
        each = [_recording(part, image, made) for part in value]
        return tuple(each) if isinstance(value, tuple) else each
    if isinstance(value, Mapping):
        return {key: _recording(part, image, made) for key, part in value.items()}
    return _Recorder(value, image, made) if callable(value) and not isinstance(value, type) else value
