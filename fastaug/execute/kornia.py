"""Carries out plans with Kornia and torch ops, on any torch device.

The portable executor, and the independent reference of the compiled kernels: nothing is shared with
them but the plan.
"""

from __future__ import annotations

import kornia
import torch

from ..plan.batch_plan import BatchPlan
from .tensors import TensorExecutor
from .torch_policy import run_policies


class KorniaExecutor(TensorExecutor):
    """Policies, masks, mixing and normalisation as tensor expressions over the whole batch of uint8 RGB."""

    name = "kornia"

    def pixels(self, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
        o = self._output
        images = run_policies(plan, crops.to(self._device)).permute(0, 3, 1, 2)
        images = images.float() / (1 if o.dtype == torch.uint8 else 255)
        if o.normalize is not None:
            mean, std = (torch.from_numpy(v).to(images) for v in o.normalize.of(3))
            images = kornia.enhance.normalize(images, mean, std)
        return images
