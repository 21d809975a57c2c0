"""Optimizer and averaged weights, from torch's own parts, and the rate of every step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .config import Config
from .settings import Settings

# Of timm's and torchvision's transformers.
_SPARED = {
    "cls_token",
    "class_token",
    "dist_token",
    "reg_token",
    "pos_embed",
    "pos_embedding",
    "relative_position_bias_table",
}


def make_optimizer(network: nn.Module, config: Config, settings: Settings) -> Optimizer:
    """The optimizer, with two groups of parameters where norms and biases are spared weight decay."""
    parameters = groups(network, settings.weight_decay, config.norm_decay)
    common: dict[str, Any] = dict(lr=settings.lr, weight_decay=settings.weight_decay)
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    if config.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, momentum=settings.momentum, alpha=0.9, eps=1e-3, **common)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "adadelta": torch.optim.Adadelta}
    return kinds[config.optimizer](parameters, **common)


def groups(network: nn.Module, weight_decay: float, norm_decay: bool) -> list[dict[str, Any]]:
    """Parameters with weight decay and, where there are any, those without.

    Without are tokens, positions and tables of relative positions, and what timm's ``no_weight_decay()`` of
    the network names; unless ``norm_decay`` also biases and norms, which are the parameters of fewer than two
    dimensions (He et al. 2019, https://arxiv.org/abs/1812.01187).
    """
    named: set[str] = getattr(network, "no_weight_decay", set)()
    with_decay: list[nn.Parameter] = []
    without: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        spared = name in named or name.rpartition(".")[2] in _SPARED
        if parameter.requires_grad:
            (without if spared or (parameter.ndim < 2 and not norm_decay) else with_decay).append(parameter)
    found: list[dict[str, Any]] = [{"params": with_decay, "weight_decay": weight_decay}]
    return [*found, {"params": without, "weight_decay": 0.0}] if without else found


def restore_optimizer(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Takes the moments of a checkpoint; rate, weight decay and all else stay as the optimizer was made."""
    optimizer.load_state_dict(state | {"param_groups": optimizer.state_dict()["param_groups"]})
    for group in optimizer.param_groups:
        if group.get("momentum"):  # and where the checkpoint had none, RMSprop lacks its buffer
            for parameter in group["params"]:
                if parameter in optimizer.state:
                    optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


def make_schedule(config: Config, settings: Settings, steps: int) -> Callable[[int], float]:
    """The rate of a step: from the start to the top over the warm-up, then the schedule over what is left.

    With S steps an epoch, W of warm-up and T in all, at step t, top rate ``lr``: warm-up
    ``start + (lr - start) t / W``, so that the first step's rate is the start (0 in the guide: it moves
    nothing but batch statistics); cosine ``lr (1 + cos(pi (t - W) / (T - W))) / 2``; polynomial
    ``lr (1 - (t - W) / (T - W))^power``; exponential ``lr gamma^((t - W) / S)``; piecewise
    ``lr gamma^floor(t / (step_epochs S))``.

    It depends on nothing else, so that a run that goes on with another length or rate follows the schedule
    that it would have had from its beginning.

    Args:
        config: schedule and epochs.
        settings: top rate, warm-up and its start, step, gamma and power.
        steps: S, optimizer steps an epoch.
    """
    total = config.epochs * steps
    warm, start = round(settings.warmup_epochs * steps), settings.warmup_start / settings.lr

    def factor(step: int) -> float:
        if step < warm:
            return start + (1 - start) * step / warm
        passed = (step - warm) / max(1, total - warm)  # share of what follows the warm-up
        if config.schedule == "cosine":
            return (1 + math.cos(math.pi * passed)) / 2
        if config.schedule == "polynomial":
            return (1 - passed) ** settings.power
        if config.schedule == "exponential":
            return settings.gamma ** ((step - warm) / steps)
        if config.schedule == "piecewise":
            return settings.gamma ** math.floor(step / (settings.step_epochs * steps))
        return 1.0

    return lambda step: settings.lr * factor(step)


def make_average(network: nn.Module, decay: float | None) -> AveragedModel | None:
    """A moving average of weights and buffers for ``update_average``, or None."""
    return None if decay is None else AveragedModel(network, use_buffers=True)


def update_average(average: AveragedModel, network: nn.Module, decay: float) -> None:
    """Takes a step's weights into an exponential moving average.

    After n updates the decay is ``min(decay, (1 + n) / (10 + n))``, as in TensorFlow's
    ExponentialMovingAverage with ``num_updates``
    (https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage): the average of a run
    shorter than 1 / (1 - decay) steps would else be mostly of the weights that it began with. n is part of
    the average's state.
    """
    n = int(average.n_averaged)  # on the CPU: no wait for a GPU
    average.multi_avg_fn = get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))
    average.update_parameters(network)
