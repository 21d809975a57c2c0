"""timm's training script in fastaug's words: its arguments, and its mixing collate."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .checks import shown
from .ops.base import Augmentation
from .ops.mixing import CutMix, Mixing, MixUp
from .ops.one_of import OneOf
from .ops.timm_policy import TimmPolicy, read_policy
from .ops.translate import translate
from .ops.views import lists_of

_PER = {"batch": "batch", "pair": "pair", "elem": "sample"}
# Of timm's train.py: what it means for ``create_transform``.
_TRANSFORM = {
    "train_crop_mode": None,
    "scale": None,
    "ratio": None,
    "hflip": 0.5,
    "vflip": 0.0,
    "color_jitter": 0.4,
    "color_jitter_prob": None,
    "grayscale_prob": 0.0,
    "gaussian_blur_prob": 0.0,
}
_MIX = {"mixup": 0.0, "cutmix": 0.0, "cutmix_minmax": None, "mixup_prob": 1.0, "mixup_switch_prob": 0.5}


def from_timm(args: Any, data_config: Any = None) -> Any:
    """timm's arguments as ``fastaug.loader``'s.

    Args:
        args: the namespace (or dict) of timm's ``train.py``, or a policy's configuration string, such as
            "rand-m9-mstd0.5-inc1", "augmix-m5-w3" or "original".
        data_config: what ``timm.data.resolve_data_config`` gives; None: size, mean, deviation and
            interpolation are those in ``args``, else 224, ImageNet's and "random".

    Returns:
        A dict: ``fastaug.loader(dataset, **fastaug.from_timm(args))``; of a string a ``TimmPolicy``.

    Raises:
        ImportError: when timm is not installed.
        ValueError: for what fastaug does not do, by name.

    Example:
        >>> import fastaug
        >>> options = fastaug.from_timm({"input_size": (3, 96, 96), "mixup": 0.2, "num_classes": 10})
        >>> sorted(options), options["augment"][0].size
        (['augment', 'batch_size', 'label_smoothing', 'num_classes'], (96, 96))
    """
    if isinstance(args, str):
        return policy_of(args)
    given = dict(args) if isinstance(args, dict) else vars(args)
    config = {**{k: v for k, v in given.items() if v is not None}, **(data_config or {})}
    if config.get("aug_splits"):
        raise ValueError(
            "timm's --aug-splits gives each sample several views; leave it out, and --jsd-loss and --resplit"
        )
    create_transform: Any = import_module("timm.data").create_transform

    size = config.get("input_size") or (3, config.get("img_size") or 224, config.get("img_size") or 224)
    transform = create_transform(
        tuple(size),
        is_training=True,
        no_aug=bool(given.get("no_aug")),
        auto_augment=given.get("aa"),
        interpolation=given.get("train_interpolation") or config.get("interpolation") or "random",
        mean=config.get("mean") or (0.485, 0.456, 0.406),
        std=config.get("std") or (0.229, 0.224, 0.225),
        re_prob=given.get("reprob") or 0.0,
        re_mode=given.get("remode") or "pixel",
        re_count=given.get("recount") or 1,
        **told(given, _TRANSFORM),
    )
    read = translate([transform])
    mixing = mixing_of(told(given, _MIX), given.get("mixup_mode") or "batch")
    (ops,) = map(list, lists_of(read.augment))
    augment = ops[:-1] + mixing + ops[-1:] if mixing else ops
    out: dict[str, Any] = {"augment": augment, "label_smoothing": given.get("smoothing") or 0.0}
    if given.get("num_classes"):
        out["num_classes"] = given["num_classes"]
    out["batch_size"] = given.get("batch_size") or 128
    return out


def told(given: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """Each of the defaults, or what is given in its place."""
    return {name: value if given.get(name) is None else given[name] for name, value in defaults.items()}


def policy_of(config: str) -> TimmPolicy:
    """A policy's configuration string."""
    auto_augment: Any = import_module("timm.data.auto_augment")

    hparams = dict(img_mean=(124, 116, 104))
    if config.startswith("rand"):
        return read_policy(auto_augment.rand_augment_transform(config, hparams))
    if config.startswith("augmix"):
        return read_policy(auto_augment.augment_and_mix_transform(config, {**hparams, "translate_pct": 0.3}))
    if config.split("-")[0] in ("original", "originalr", "v0", "v0r"):
        return read_policy(auto_augment.auto_augment_transform(config, hparams))
    raise ValueError(
        f"{config!r} is no policy of timm's that is known: rand-…, augmix-…, original, originalr, v0, v0r"
    )


def mixing_of(mix: dict[str, Any], mode: str) -> list[Augmentation]:
    """timm's Mixup in fastaug's words: none or one augmentation.

    Args:
        mix: its parameters, by the names of train.py.
        mode: "batch", "pair" or "elem".
    """
    if mix["cutmix_minmax"] is not None:
        raise ValueError("timm's --cutmix-minmax is not carried out; give --cutmix an alpha instead")
    if mode not in _PER:
        raise ValueError(f"timm's mixup mode is {mode!r}; it must be one of {', '.join(map(repr, _PER))}")
    per: Any = _PER[mode]
    kinds: list[Mixing] = []
    for kind, alpha in ((MixUp, mix["mixup"]), (CutMix, mix["cutmix"])):
        if alpha > 0:
            kinds.append(kind(alpha, per, mix["mixup_prob"]))
    if len(kinds) < 2:
        return list(kinds)
    chance = mix["mixup_switch_prob"]
    return [OneOf(kinds, (1 - chance, chance), "batch" if per == "batch" else "sample")]


def collate_mixing(collate_fn: Any) -> tuple[list[Augmentation], float, int] | None:
    """What timm's ``FastCollateMixup`` does: mixing, label smoothing and the number of classes; None for
    others."""
    kind = type(collate_fn)
    if kind.__module__ != "timm.data.mixup" or kind.__name__ not in ("FastCollateMixup", "Mixup"):
        return None
    if not collate_fn.correct_lam or getattr(collate_fn, "multi_label", False):
        raise ValueError(f"{shown(collate_fn)}: correct_lam=False and multi_label=True are not carried out")
    mix = {
        "mixup": collate_fn.mixup_alpha,
        "cutmix": collate_fn.cutmix_alpha,
        "cutmix_minmax": collate_fn.cutmix_minmax,
        "mixup_prob": collate_fn.mix_prob,
        "mixup_switch_prob": collate_fn.switch_prob,
    }
    return mixing_of(mix, collate_fn.mode), collate_fn.label_smoothing, collate_fn.num_classes
