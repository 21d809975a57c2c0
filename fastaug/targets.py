"""Class ids to targets: int64 ids, or soft labels when labels are mixed or smoothed."""

from __future__ import annotations

import numpy as np
import torch

from .plan import BatchPlan


def hard_targets(plan: BatchPlan) -> torch.Tensor:
    """Class ids: int64 ``[B]``."""
    return torch.from_numpy(plan["label"].astype(np.int64))


def soft_targets(plan: BatchPlan, num_classes: int, label_smoothing: float = 0.0) -> torch.Tensor:
    """Soft labels: float32 ``[B, num_classes]``, each row summing to 1.

    Smoothed first, (1 - e) * onehot + e / C (Szegedy et al. 2016), then mixed,
    lam * own + (1 - lam) * partner, as torchvision's MixUp and CutMix do.

    Args:
        plan: the batch.
        num_classes: C, above every label.
        label_smoothing: e in [0, 1).
    """
    rows = np.arange(len(plan))
    label, lam = plan["label"], plan["lam"].astype(np.float64)
    out = np.full((len(plan), num_classes), label_smoothing / num_classes, np.float64)
    out[rows, label] += (1 - label_smoothing) * lam
    out[rows, label[plan["partner"]]] += (1 - label_smoothing) * (1 - lam)
    return torch.from_numpy(out.astype(np.float32))
