"""Optimizer, schedule and averaged weights, from torch's own parts."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LRScheduler,
    MultiStepLR,
    PolynomialLR,
    SequentialLR,
)
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .config import Config
from .settings import Settings


def make_optimizer(network: nn.Module, config: Config, settings: Settings) -> Optimizer:
    """The optimizer, with two groups of parameters where norms and biases are spared weight decay."""
    parameters = groups(network, settings.weight_decay, config.norm_decay)
    common: dict[str, Any] = dict(lr=settings.lr, weight_decay=settings.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=config.momentum, **common)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, momentum=config.momentum, alpha=0.9, eps=1e-3, **common)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adadelta": torch.optim.Adadelta}
    return kinds[config.optimizer](parameters, **common)


def groups(network: nn.Module, weight_decay: float, norm_decay: bool) -> list[dict[str, Any]]:
    """Parameters with weight decay and, unless ``norm_decay``, those without: biases and norms, which are
    the ones of fewer than two dimensions (He et al. 2019, https://arxiv.org/abs/1812.01187)."""
    trained = [p for p in network.parameters() if p.requires_grad]
    if norm_decay:
        return [{"params": trained}]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def make_schedule(optimizer: Optimizer, config: Config, settings: Settings, steps: int) -> LRScheduler:
    """The rate at every step: from 0 to the top over the warm-up, then the schedule over what is left.

    With S steps an epoch, W of warm-up and T in all, at step t, top rate ``lr``:
    warm-up ``lr t / W``; cosine ``lr (1 + cos(pi (t - W) / (T - W))) / 2``; polynomial
    ``lr (1 - (t - W) / (T - W))^power``; exponential ``lr gamma^((t - W) / S)``; piecewise
    ``lr gamma^floor(t / (step_epochs S))``.

    Args:
        optimizer: with the top rate.
        config: schedule and power.
        settings: warm-up, step and gamma.
        steps: S, optimizer steps an epoch.
    """
    total = config.epochs * steps
    warm = round(settings.warmup_epochs * steps)
    left = max(1, total - warm)
    main: LRScheduler
    if config.schedule == "cosine":
        main = CosineAnnealingLR(optimizer, left)
    elif config.schedule == "polynomial":
        main = PolynomialLR(optimizer, left, config.power)
    elif config.schedule == "exponential":
        main = ExponentialLR(optimizer, settings.gamma ** (1 / steps))
    elif config.schedule == "piecewise":
        every = settings.step_epochs * steps
        drops = range(1, int(total / every) + 1)
        main = MultiStepLR(optimizer, [round(k * every) - warm for k in drops], settings.gamma)
    else:
        main = ConstantLR(optimizer, 1.0)
    if not warm:
        return main
    rise = LambdaLR(optimizer, lambda step: step / warm)
    return SequentialLR(optimizer, [rise, main], [warm])


def make_average(network: nn.Module, decay: float | None) -> AveragedModel | None:
    """An exponential moving average of weights and buffers, or None."""
    if decay is None:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
