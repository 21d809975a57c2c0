"""What a network says of an image's views, as one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..checks import one_of, shown, whole

_MODES = ("mean", "probabilities", "max")


def merge(
    outputs: Sequence[torch.Tensor] | torch.Tensor, views: int | None = None, *, mode: str = "mean"
) -> torch.Tensor:
    """A network's outputs for the views of a batch, merged: test-time augmentation.

    Args:
        outputs: a tensor ``[B, ...]`` for each view; or one, ``[V * B, ...]``, of views that were put behind
            each other with ``torch.cat``.
        views: V, of one tensor.
        mode: "mean" of the outputs, as torchvision's documentation has it for TenCrop; mean of their
            "probabilities", by softmax along axis 1; or "max".

    Returns:
        ``[B, ...]``.

    Raises:
        TypeError, ValueError: when shapes or ``views`` do not fit.

    Example:
        >>> import fastaug
        >>> import torch
        >>> fastaug.merge([torch.tensor([[1.0, 3.0]]), torch.tensor([[3.0, 5.0]])]).tolist()
        [[2.0, 4.0]]
    """
    one_of("merge mode", mode, _MODES)
    if isinstance(outputs, torch.Tensor):
        count = whole("merge views", views, 1)
        if len(outputs) % count:
            raise ValueError(f"{len(outputs)} outputs cannot be those of {count} views; give all of them")
        each = outputs.view(count, len(outputs) // count, *outputs.shape[1:])
    elif isinstance(outputs, (list, tuple)) and outputs and all(isinstance(o, torch.Tensor) for o in outputs):
        if views not in (None, len(outputs)) or len({o.shape for o in outputs}) > 1:
            shapes = [tuple(o.shape) for o in outputs]
            raise ValueError(f"merge takes an output of one shape for each view, not {shapes}, views={views}")
        each = torch.stack(list(outputs))
    else:
        raise TypeError(f"merge takes a tensor for each view, or one of all, not {shown(outputs)}")
    if mode == "max":
        return each.amax(0)
    return (each.softmax(2) if mode == "probabilities" else each).mean(0)
