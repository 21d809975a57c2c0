"""fastaug: image augmentation for classification, keyed by sample, in place of a DataLoader."""

from . import recipes
from .decode.graphs import Decode
from .errors import DecodeError, TooManyBadFiles
from .loader import Loader
from .ops.augment import (
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
from .ops.policies import (
    AugMix,
    AutoAugment,
    ColorJitter,
    GaussianBlur,
    Policy,
    RandAugment,
    RandomGrayscale,
    RandomSolarize,
    TrivialAugmentWide,
)
from .ops.translate import Translation, from_torchvision
from .plan.batch_plan import BatchPlan

loader = Loader
__version__ = "0.1.0"

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "AugMix",
    "Augmentation",
    "AutoAugment",
    "BatchPlan",
    "CenterCrop",
    "ColorJitter",
    "CutMix",
    "Cutout",
    "Decode",
    "DecodeError",
    "GaussianBlur",
    "GridMask",
    "HideAndSeek",
    "Loader",
    "MixUp",
    "Normalize",
    "OneOf",
    "Policy",
    "RandAugment",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomSolarize",
    "Resize",
    "TooManyBadFiles",
    "Translation",
    "TrivialAugmentWide",
    "from_torchvision",
    "loader",
    "recipes",
]
