"""Class ids to targets: int64 ids, or soft labels when labels are mixed or smoothed."""

from __future__ import annotations

import numpy as np
import torch

from ..sampling.epoch import Ints
from .batch_plan import BatchPlan


def hard_targets(labels: Ints) -> torch.Tensor:
    """Class ids: int64 ``[B]``."""
    return torch.from_numpy(labels)


def soft_targets(
    labels: Ints, plan: BatchPlan, num_classes: int, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Soft labels: float32 ``[B, num_classes]``, each row summing to 1.

    Smoothed first, (1 - e) * onehot + e / C (Szegedy et al. 2016), then mixed,
    lam * own + (1 - lam) * partner, as torchvision's MixUp and CutMix do.

    Args:
        labels: class ids of the plan's rows: int64 ``[B]``.
        plan: the batch.
        num_classes: C, above every label.
        label_smoothing: e in [0, 1).
    """
    rows = np.arange(len(plan))
    lam = plan["lam"].astype(np.float64)
    out = np.full((len(plan), num_classes), label_smoothing / num_classes, np.float64)
    out[rows, labels] += (1 - label_smoothing) * lam
    out[rows, labels[plan["partner"]]] += (1 - label_smoothing) * (1 - lam)
    return torch.from_numpy(out.astype(np.float32))
