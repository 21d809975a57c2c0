"""fastaug: image augmentation for classification, keyed by sample, in place of a DataLoader."""

from . import recipes
from .augment import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Augmentation,
    CenterCrop,
    CutMix,
    Cutout,
    GridMask,
    HideAndSeek,
    MixUp,
    Normalize,
    OneOf,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
)
from .errors import DecodeError
from .graphs import Decode
from .loader import Loader
from .plan import BatchPlan

loader = Loader
__version__ = "0.1.0"

__all__ = [
    "IMAGENET_MEAN", "IMAGENET_STD", "Augmentation", "BatchPlan", "CenterCrop", "CutMix", "Cutout",
    "Decode", "DecodeError", "GridMask", "HideAndSeek", "Loader", "MixUp", "Normalize", "OneOf",
    "RandomErasing", "RandomHorizontalFlip", "RandomResizedCrop", "Resize", "loader", "recipes",
]  # fmt: skip
