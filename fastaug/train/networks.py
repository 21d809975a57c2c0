"""Networks by name, and weights to start from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ..checks import first_line

Triple = tuple[float, float, float]
State = dict[str, torch.Tensor]


def mobilenet_v1(num_classes: int, width: float) -> nn.Module:
    """MobileNetV1 (Howard et al. 2017, https://arxiv.org/abs/1704.04861, table 1), ``width`` times as wide,
    from timm's depthwise separable blocks."""
    from timm.models._efficientnet_builder import decode_arch_def, round_channels
    from timm.models.efficientnet import EfficientNet

    stages = [
        ["dsa_r1_k3_s1_c64"],
        ["dsa_r2_k3_s2_c128"],
        ["dsa_r2_k3_s2_c256"],
        ["dsa_r6_k3_s2_c512"],
        ["dsa_r2_k3_s2_c1024"],
    ]
    return EfficientNet(
        decode_arch_def(stages),
        num_classes,
        num_features=0,
        stem_size=32,
        round_chs_fn=partial(round_channels, multiplier=width),
        act_layer=nn.ReLU6,
    )


def cifar_resnet(num_classes: int, depth: int) -> nn.Module:
    """The residual network of ``6 n + 2`` layers for 32-pixel images (He et al. 2016,
    https://arxiv.org/abs/1512.03385, section 4.2), from torchvision's blocks, projections where it widens."""
    from torchvision.models.resnet import BasicBlock, conv1x1, conv3x3

    layers: list[nn.Module] = [conv3x3(3, 16), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
    before = 16
    for channels in (16, 32, 64):
        for block in range((depth - 2) // 6):
            stride, widen = 1, None
            if block == 0 and channels != before:
                stride, widen = 2, nn.Sequential(conv1x1(before, channels, 2), nn.BatchNorm2d(channels))
            layers.append(BasicBlock(before, channels, stride, widen))
            before = channels
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _torchvision(name: str, **options: Any) -> Callable[[int], nn.Module]:
    def make(num_classes: int) -> nn.Module:
        from torchvision.models import get_model

        return get_model(name, weights=None, num_classes=num_classes, **options)

    return make


def _timm(name: str) -> Callable[[int], nn.Module]:
    def make(num_classes: int) -> nn.Module:
        import timm

        return timm.create_model(name, num_classes=num_classes)

    return make


# The networks that the advice names, and two for small images.
PRESETS: dict[str, Callable[[int], nn.Module]] = {
    "ResNet50": _torchvision("resnet50"),
    "ResNet50_vd": _timm("resnet50d"),
    "ResNet18": _torchvision("resnet18"),
    "MobileNetV1_x0_25": partial(mobilenet_v1, width=0.25),
    "MobileNetV2_x0_25": _torchvision("mobilenet_v2", width_mult=0.25),
    "MobileNetV3": _torchvision("mobilenet_v3_large"),
    "ResNet8": partial(cifar_resnet, depth=8),
    "ResNet20": partial(cifar_resnet, depth=20),
}


def make_network(name: str, num_classes: int) -> nn.Module:
    """A network with fresh weights: a preset, or torchvision's or timm's of that name (torchvision's where
    both have it; ``torchvision:NAME`` and ``timm:NAME`` choose).

    Raises:
        ValueError: naming close matches.
    """
    import timm
    from torchvision.models import list_models

    library, _, plain = name.rpartition(":")
    if name in PRESETS:
        return PRESETS[name](num_classes)
    if library in ("", "torchvision") and plain in _classifiers(list_models()):
        return _torchvision(plain)(num_classes)
    if library in ("", "timm") and timm.is_model(plain):
        return _timm(plain)(num_classes)
    from difflib import get_close_matches

    known = sorted({*PRESETS, *_classifiers(list_models()), *timm.list_models()})
    near = get_close_matches(plain, known, 5, 0.4)
    raise ValueError(
        f"there is no network {name!r}; near it are {', '.join(near) or 'none'}; presets are "
        f"{', '.join(PRESETS)}, and every classifier of torchvision and timm has its name"
    )


def _classifiers(names: list[str]) -> list[str]:
    other = (
        "rcnn",
        "retinanet",
        "fcos",
        "ssd",
        "deeplab",
        "fcn_",
        "lraspp",
        "raft",
        "r3d",
        "mc3",
        "r2plus1d",
        "s3d",
        "mvit",
        "swin3d",
        "quantized",
    )
    return [name for name in names if not any(part in name for part in other)]


def check_fit(network: nn.Module, name: str, size: int, classes: int) -> None:
    """Runs the network once on gray images of the size that it will see; it stays as it was.

    Raises:
        ValueError: when it does not take them, or gives no score for each class.
    """
    training = network.training
    network.eval()
    try:
        with torch.no_grad():
            scores = network(torch.zeros(2, 3, size, size, device=next(network.parameters()).device))
    except Exception as error:  # each network has its own
        raise ValueError(
            f"--model {name} does not take images of {size} x {size} pixels ({first_line(error)}); "
            "give it another --size"
        ) from None
    finally:
        network.train(training)
    shape = tuple(scores.shape) if isinstance(scores, torch.Tensor) else type(scores).__name__
    if shape != (2, classes):
        raise ValueError(
            f"--model {name} gives {shape} for two images, and a classifier of {classes} classes gives "
            f"(2, {classes}); take another network"
        )


def input_statistics(network: nn.Module) -> tuple[Triple, Triple] | None:
    """(mean, std) that timm's networks say they were made for; None for others."""
    known = getattr(network, "pretrained_cfg", None) or {}
    if "mean" not in known or "std" not in known:
        return None
    return tuple(known["mean"]), tuple(known["std"])


def freeze_batch_norms(network: nn.Module) -> None:
    """Batch norms normalise with the statistics that they have and keep them, until the next ``train()``."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


# ---- weights to start from ----


@dataclass(frozen=True)
class Loaded:
    """What was taken from a file of weights.

    Attributes:
        source: where they come from, with what was taken of a file that holds more.
        loaded: names of the network's tensors that were.
        classifier: the classifier's tensors, which begin at 0.
        missing: others that the file lacks, or has in another shape.
        unused: the file's tensors that were not taken.
        by_order: the names differ, so tensors were matched by their order and shapes.
    """

    source: str
    loaded: list[str]
    classifier: list[str]
    missing: list[str]
    unused: list[str]
    by_order: bool

    def __str__(self) -> str:
        def listed(names: list[str]) -> str:
            return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "") or "none"

        how = ", matched by order and shape since the names differ" if self.by_order else ""
        return "\n".join(
            [
                f"{self.source}: {len(self.loaded)} tensors loaded{how}",
                f"  0, as the classifier: {listed(self.classifier)}",
                f"  fresh, since the file lacks them or has another shape: {listed(self.missing)}",
                f"  not used: {listed(self.unused)}",
            ]
        )


def load_pretrained(network: nn.Module, name: str, source: str) -> Loaded:
    """Fills a network with pretrained weights, but for its classifier, which begins at 0.

    At 0 the first gradients do not reach the loaded weights, where a random classifier's large ones would
    spoil them (Kolesnikov et al. 2020, https://arxiv.org/abs/1912.11370).

    Args:
        network: from ``make_network``.
        name: the network's name.
        source: a file (safetensors, or what torch.save wrote, read with ``weights_only=True``), "timm" or
            "torchvision" (which may download, as those libraries do).

    Raises:
        FileNotFoundError, ValueError: when there is no such file or nothing in it matches.
    """
    taken = ""
    if source in ("timm", "torchvision"):
        state = _library_state(name, source)
    else:
        state, taken = _read(source)
    own = network.state_dict()
    head = classifier_names(network)
    body = [key for key in own if key not in head]
    match = {key: key for key in body if key in state and state[key].shape == own[key].shape}
    weights = {key for key in match if own[key].ndim > 0}
    by_order = not weights
    if by_order:
        match = _matched_by_order(body, own, state, len(head))
    if not match:
        first, other = next(iter(state), "nothing"), body[0]
        raise ValueError(
            f"no weight of {source} fits {name}: it begins with {first}, {name} with {other}; give "
            "weights of this network"
        )
    own.update({key: state[found] for key, found in match.items()})
    own.update({key: torch.zeros_like(own[key]) for key in head})
    network.load_state_dict(own)
    used = set(match.values())
    return Loaded(
        source + taken,
        list(match),
        head,
        [key for key in body if key not in match],
        [key for key in state if key not in used],
        by_order,
    )


def classifier_names(network: nn.Module) -> list[str]:
    """Names of the tensors of the last linear layer (or 1 x 1 convolution), the classifier."""
    linear = [name for name, m in network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return [key for key in network.state_dict() if key.startswith(linear[-1] + ".")] if linear else []


def _matched_by_order(body: list[str], own: State, state: State, head: int) -> dict[str, str]:
    """Same tensors in the same order under other names; {} unless every shape but the classifier's agrees."""
    theirs = list(state)[: len(state) - head]
    if len(theirs) != len(body) or any(
        state[a].shape != own[b].shape for a, b in zip(theirs, body, strict=True)
    ):
        return {}
    return dict(zip(body, theirs, strict=True))


# Under these names trainers keep an average of the weights, which is what they test: fastaug; YOLO and
# others; timm; torchvision's references. Then the weights themselves.
AVERAGES = ("average", "ema", "state_dict_ema", "model_ema")
WEIGHTS = ("state_dict", "model_state_dict", "model", "network")


def read_state(path: str) -> State:
    """The weights of a file, without the nesting and prefixes that trainers, DDP and torch.compile add; their
    average where the file holds one."""
    return _read(path)[0]


def _read(path: str) -> tuple[State, str]:
    """The weights of a file, and in words which they are."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"there is no file of weights {path!r}; give a file, timm or torchvision")
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path!r} cannot be read as weights ({first_line(error)}); "
            "it must be safetensors, or what torch.save wrote of a state_dict"
        ) from None
    taken = ""
    for key in AVERAGES + WEIGHTS:
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
            kind = ", the average of the weights" if key in AVERAGES else ""
            taken = taken or f" ({key!r}{kind})"
    if not isinstance(found, dict):
        raise ValueError(f"{path!r} holds a {type(found).__name__}; it must hold a state_dict")
    state = {key: value for key, value in found.items() if isinstance(value, torch.Tensor)}
    state.pop("n_averaged", None)  # torch's AveragedModel
    for prefix in ("module.", "_orig_mod."):
        if state and all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state, taken


def _library_state(name: str, source: str) -> State:
    plain = {
        "ResNet50": "resnet50",
        "ResNet50_vd": "resnet50d",
        "ResNet18": "resnet18",
        "MobileNetV3": "mobilenet_v3_large",
    }.get(name, name).rpartition(":")[2]
    try:
        if source == "timm":
            import timm

            return timm.create_model(plain, pretrained=True).state_dict()
        from torchvision.models import get_model

        return get_model(plain, weights="DEFAULT").state_dict()
    except Exception as error:
        raise ValueError(
            f"{source} gives no pretrained weights for {name!r} here: {error}; fetch a file and "
            "name it with --pretrained FILE"
        ) from error
