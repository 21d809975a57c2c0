"""Config: what a user asks of a run, from flags, a YAML file, or both."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_type_hints

from ..checks import MAX_SIZE, first_line, number, one_of, shown, whole
from ..files import replacing
from ..recipes import NAMES

LAST = "last.pt"
FILE = "config.yaml"
COUNTS = (  # whole numbers: from, to
    ("epochs", 1, 10**6),
    ("batch_size", 1, 10**6),
    ("size", 1, MAX_SIZE),
    ("accumulate", 1, 10**6),
    ("keep_every", 0, 10**6),
    ("save_steps", 0, 10**9),
    ("seed", 0, 2**64 - 1),
)
RECIPES = NAMES[2:]  # those that train
PAIRS, TRIPLES = ("scale", "ratio"), ("mean", "std")
USERS = {  # of options that not every run has a use for
    "momentum": ("optimizer", ("sgd", "rmsprop")),
    "power": ("schedule", ("polynomial",)),
    "gamma": ("schedule", ("piecewise", "exponential")),
    "step_epochs": ("schedule", ("piecewise",)),
}


def _option(default: Any, help: str) -> Any:
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Config:
    """A run as its user describes it; None leaves the choice to the advice (``settings.resolve``).

    Every field is a flag of ``fastaug train`` (``batch_size``: ``--batch-size``) and a key of the YAML
    file; its help is the field's documentation.
    """

    data: list[str] = _option(
        [],
        "a folder with train/ and val/ (or validation/, test/), both folders, or one or two .npz files of "
        "arrays",
    )
    model: str = _option(
        "ResNet50",
        "a preset (ResNet50, ResNet50_vd, ResNet18, MobileNetV1_x0_25, "
        "MobileNetV2_x0_25, MobileNetV3), ResNet20 for 32-pixel images, or a name of "
        "torchvision or timm; torchvision: or timm: in front chooses",
    )
    pretrained: str | None = _option(
        None,
        "weights to start from, but for the classifier: a file "
        "(.pt, .pth, .safetensors), timm or torchvision",
    )
    epochs: int = _option(120, "passes over the training images")
    batch_size: int = _option(64, "images a step and process")
    size: int = _option(224, "side of the images that the network sees, in pixels")
    recipe: str = _option("standard", f"augmentation: {', '.join(RECIPES)}")
    augment: list[str] | None = _option(
        None, "the whole list instead: 'RandomResizedCrop(224)' 'GridMask(p=0.5)' 'Normalize()'"
    )
    override: list[str] = _option([], "single values of the recipe: GridMask.p=0.5 'GridMask.d=(10, 20)'")
    scale: tuple[float, float] | None = _option(None, "share of the image's area that a crop has: low high")
    ratio: tuple[float, float] | None = _option(None, "width / height of a crop: low high")
    mean: tuple[float, float, float] | None = _option(
        None, "for Normalize (default: the network's, or ImageNet's)"
    )
    std: tuple[float, float, float] | None = _option(None, "likewise")
    label_smoothing: float | None = _option(None, "epsilon, 0 to 1")
    optimizer: Literal["sgd", "rmsprop", "adam", "adamw", "adadelta"] = _option("sgd", "sgd has momentum")
    momentum: float | None = _option(None, "of sgd and rmsprop (default: 0.9)")
    lr: float | None = _option(
        None, "top rate, used as it is (default: by the advice, scaled with the batch)"
    )
    schedule: Literal["cosine", "piecewise", "polynomial", "exponential", "constant"] = _option(
        "cosine", "how the rate falls after warm-up"
    )
    warmup_epochs: float | None = _option(
        None,
        "epochs over which the rate rises from 0 (default: 5 where a step has more than 256 images, else 0)",
    )
    warmup_start: float | None = _option(
        None, "rate of the first step of the warm-up (default: 0, as the guide says)"
    )
    step_epochs: float | None = _option(
        None, "piecewise: epochs between drops (default: a quarter of the run)"
    )
    gamma: float | None = _option(
        None, "piecewise: factor at a drop (0.1); exponential: factor an epoch (0.97)"
    )
    power: float | None = _option(None, "polynomial: exponent (default: 1)")
    weight_decay: float | None = _option(None, "L2 (adamw: decoupled)")
    norm_decay: bool = _option(
        True, "--no-norm-decay: none for norms and biases; tokens and positions never have any"
    )
    freeze_bn: bool | None = _option(
        None, "keep pretrained batch statistics (default: yes with --pretrained below 100,000 images)"
    )
    ema: float | None = _option(
        None,
        "decay of an average of the weights, which is then what is tested; after n steps it is at most "
        "(1 + n) / (10 + n), so that the average of a short run forgets its beginning too",
    )
    accumulate: int = _option(1, "batches whose gradients make one step")
    clip_grad: float | None = _option(None, "largest norm of the gradient")
    amp: Literal["float16", "bfloat16"] | None = _option(None, "mixed precision")
    channels_last: bool = _option(False, "memory format NHWC, faster on tensor cores and most CPUs")
    compile: bool = _option(False, "torch.compile")
    device: str | None = _option(None, "such as cpu or cuda:0 (default: the GPU if there is one)")
    workers: int | None = _option(None, "threads of the loader (default: this process's share of the cores)")
    on_error: Literal["raise", "skip", "replace"] = _option(
        "raise", "what a file that cannot be decoded does"
    )
    seed: int = _option(0, "of weights, order, augmentation and dropout")
    output: str = _option("run", "folder for checkpoints, curves and metrics")
    keep_every: int = _option(0, "keep a checkpoint every so many epochs (0: only last and best)")
    save_steps: int = _option(1000, "save last.pt every so many steps within an epoch too (0: never)")
    resume: str | None = _option(
        None, "go on from a run's folder or a checkpoint; auto: from --output where it has one"
    )

    def check(self) -> None:
        """Refuses values out of range, naming flag, value and what is accepted."""
        for option in dataclasses.fields(self):
            if getattr(self, option.name) == "":
                raise ValueError(f"{flag(option.name)} is empty; give a value or leave it out")
        if not 1 <= len(self.data) <= 2 or "" in self.data:
            raise ValueError(
                f"DATA must be one folder with train/ and val/, two folders, or .npz files, not {self.data}"
            )
        for name, least, most in COUNTS:
            whole(flag(name), getattr(self, name), least, most)
        for name, low, high, above, below in (
            ("lr", 0, 1e6, True, False),
            ("weight_decay", 0, 1e3, False, False),
            ("label_smoothing", 0, 1, False, True),
            ("momentum", 0, 1, False, True),
            ("warmup_epochs", 0, self.epochs, False, False),
            ("warmup_start", 0, 1e6, False, False),
            ("ema", 0, 1, True, True),
            ("step_epochs", 1e-3, self.epochs, False, False),
            ("gamma", 0, 1, True, False),
            ("power", 0, 100, True, False),
            ("clip_grad", 0, 1e9, True, False),
        ):
            if getattr(self, name) is not None:
                number(flag(name), getattr(self, name), low, high, above=above, below=below)
        if self.workers is not None:
            whole("--workers", self.workers, 0, 1024)
        self._refuse_unused()
        one_of("--recipe", self.recipe, RECIPES)
        if self.augment is not None:
            for name in ("recipe", "scale", "ratio", "mean", "std", "override"):
                if (value := getattr(self, name)) != getattr(Config(), name):
                    raise ValueError(
                        f"--augment gives the whole list, so {flag(name)} {shown(value)} would not be used; "
                        f"write it into the list and leave {flag(name)} out ({_leaving_out(name)})"
                    )

    def _refuse_unused(self) -> None:
        """Refuses what the rest of the settings has no use for."""
        for name, needs in (("freeze_bn", "pretrained"), ("warmup_start", "warmup_epochs")):
            if getattr(self, name) and not getattr(self, needs):
                raise ValueError(
                    f"{flag(name)} {shown(getattr(self, name))} would not be used without {flag(needs)}; "
                    f"give that too, or leave it out ({_leaving_out(name)})"
                )
        if self.keep_every > self.epochs:
            raise ValueError(
                f"--keep-every {self.keep_every} would keep none of {self.epochs} epochs; take fewer"
            )
        for name, (chooser, users) in USERS.items():
            if (value := getattr(self, name)) is not None and getattr(self, chooser) not in users:
                raise ValueError(
                    f"{flag(name)} {value} is for {flag(chooser)} {' or '.join(users)} and would not be used "
                    f"with {getattr(self, chooser)}; leave it out ({_leaving_out(name)})"
                )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes ``config.yaml``, which ``fastaug train --config`` runs again."""
        import yaml

        text = "# fastaug train --config config.yaml\n"
        text += yaml.safe_dump(_plain(dataclasses.asdict(self)), sort_keys=False, allow_unicode=True)
        with replacing(Path(folder) / FILE) as file:
            file.write(text.encode())


def _leaving_out(name: str) -> str:
    default = getattr(Config(), name)
    value = "null" if default is None else default or "with nothing after it"
    return f"where a configuration holds it: {flag(name)} {value}"


def flag(name: str) -> str:
    """A field's flag: ``batch_size`` is ``--batch-size``."""
    return "--" + name.replace("_", "-")


def parse(arguments: Sequence[str] | None = None) -> Config:
    """The Config of a command line. ``--resume`` starts from the settings that the run was made with.

    Raises:
        SystemExit: for flags that do not exist or have a wrong type, after a message; for ``--help``.
    """
    try:
        from jsonargparse import ActionYesNo, ArgumentParser
    except ImportError as error:
        raise ImportError(
            "training needs timm, jsonargparse, rich, TensorBoard and Matplotlib: "
            "pip install 'fastaug[train]'"
        ) from error
    parser = ArgumentParser(
        prog="fastaug train",
        allow_abbrev=False,
        description="Trains an image classifier. "
        "With torchrun: torchrun --nproc-per-node N -m fastaug.train DATA ...",
    )
    hints = get_type_hints(Config)
    for option in dataclasses.fields(Config):
        name, help = option.name, option.metadata["help"]
        default = getattr(Config(), name)
        if name == "data":
            parser.add_argument("data", metavar="DATA", nargs="*", type=str, help=help)
        elif name in ("augment", "override"):
            many = "+" if default is None else "*"
            parser.add_argument(flag(name), type=str, nargs=many, default=default, help=help)
        elif name in PAIRS + TRIPLES:
            parser.add_argument(flag(name), type=float, nargs=2 if name in PAIRS else 3, help=help)
        elif hints[name] in (bool, bool | None):
            parser.add_argument(
                flag(name), action=ActionYesNo(yes_prefix="", no_prefix="no-"), default=default, help=help
            )
        else:
            parser.add_argument(flag(name), type=hints[name], default=default, help=help)
    parser.add_argument(
        "--config", action="config", help="a YAML file with these settings; flags after it win"
    )
    arguments = sys.argv[1:] if arguments is None else arguments
    given = parser.parse_args(arguments)
    if given.resume:
        path = Path(given.output if given.resume == "auto" else given.resume)
        folder = path.parent if path.suffix == ".pt" else path
        if (folder / FILE).is_file():
            _read_yaml(folder / FILE)  # jsonargparse says less of what is wrong in it
            before = ["--config", str(folder / FILE), "--output", str(folder)]
            given = parser.parse_args([*before, *arguments])
    values = given.as_dict()
    for path in values.pop("config") or []:
        if not values["data"]:  # a positional's default wins over the file
            values["data"] = _read_yaml(str(path)).get("data") or []
    config = _config(values)
    config.check()
    return config


def read_config(path: str | os.PathLike[str]) -> Config:
    """The Config that a run saved."""
    return _config(_read_yaml(path))


def _config(values: dict[str, Any]) -> Config:
    tuples = {name: tuple(values[name]) for name in PAIRS + TRIPLES if values.get(name) is not None}
    return Config(**{**values, **tuples})


def _read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    import yaml

    try:
        with open(path) as file:
            found = yaml.safe_load(file)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{str(path)!r} is not YAML: {first_line(error)}") from None
    known = [option.name for option in dataclasses.fields(Config)]
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{str(path)!r} holds no settings of a run, such as model: ResNet50")
    if odd := [name for name in found if name not in known]:
        raise ValueError(f"{str(path)!r} holds {odd[0]!r}, which is no setting; there are {', '.join(known)}")
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
