"""Accuracy of a network over all ranks."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from ..loader import Loader
from .distributed import Group

MOST_CLASSES = 1000  # of a confusion matrix


@dataclass(frozen=True)
class Accuracy:
    """What a pass over images gave.

    Attributes:
        loss: mean cross entropy.
        accuracy: share of images whose best class is right, 0 to 1.
        top5: share whose class is among the five best (of as many as there are).
        images: how many.
        confusion: int64 ``[C, C]``, images of class row taken for class column; None above MOST_CLASSES.
    """

    loss: float
    accuracy: float
    top5: float
    images: int
    confusion: torch.Tensor | None


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    loader: Loader,
    epoch: int,
    classes: int,
    group: Group,
    precision: AbstractContextManager[object],
) -> Accuracy:
    """Runs a network over a loader that yields plans; rows that only pad a rank's batch do not count.

    Args:
        network: on the loader's device; rank 0's batch statistics are used on every rank.
        loader: (images, int64 ids, plan).
        epoch: what the loader's augmentation is keyed by.
        classes: C.
        group: the ranks.
        precision: autocast, or a context that does nothing.
    """
    group.same_buffers(network)
    network.eval()
    sums = torch.zeros(4, dtype=torch.float64, device=group.device)  # loss, first, among five, images
    counted = classes * classes if classes <= MOST_CLASSES else 0
    confusion = torch.zeros(counted, dtype=torch.int64, device=group.device)
    loader.set_epoch(epoch)
    for images, targets, plan in loader:
        with precision:
            scores = network(images)
        counts = torch.from_numpy(plan["repeat"] == 0).to(group.device)
        scores, targets = scores.float()[counts], targets[counts]
        best = scores.topk(min(5, classes)).indices
        hits = best == targets[:, None]
        loss = F.cross_entropy(scores, targets, reduction="sum")
        found = (loss, hits[:, 0].sum(), hits.sum(), counts.sum())
        sums += torch.stack([value.double() for value in found])
        if counted:
            confusion += torch.bincount(targets * classes + best[:, 0], minlength=counted)
    total, first, five, seen = group.total(sums).tolist()
    table = group.total(confusion).view(classes, classes).cpu() if counted else None
    return Accuracy(total / seen, first / seen, five / seen, int(seen), table)
