"""fastaug: image augmentation for classification, keyed by sample, in place of a DataLoader."""

from . import recipes
from .augment import Augment
from .call.mixture import Mixture
from .decode.graphs import Decode
from .errors import DecodeError, TooManyBadFiles, WorkerError
from .execute.merge import merge
from .loader import Loader
from .ops.augmix import AugMix
from .ops.base import Augmentation
from .ops.colour import ColorJitter, GaussianBlur, RandomPhotometricDistort
from .ops.corners import CornerCrop, FiveCrop, TenCrop
from .ops.crop import CenterCrop, RandomResizedCrop, RandomShortestSize, Resize
from .ops.cutout import Cutout
from .ops.erasing import RandomErasing
from .ops.flip import RandomHorizontalFlip, RandomVerticalFlip
from .ops.grid_mask import GridMask
from .ops.hide import HideAndSeek
from .ops.mask_mix import FMix, GridMix, MaskMix, ResizeMix
from .ops.mixing import CutMix, MixUp
from .ops.normalize import IMAGENET_MEAN, IMAGENET_STD, Normalize
from .ops.one_of import OneOf, RandomApply
from .ops.pad import Pad, RandomCrop
from .ops.point import (
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomChannelPermutation,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from .ops.rand_augment import RandAugment, TrivialAugmentWide
from .ops.schedule import Schedule, schedule
from .ops.sequences import AutoAugment, Policy
from .ops.timm_policy import TimmPolicy
from .ops.translate import Translation, from_torchvision
from .ops.turns import RandomAffine, RandomPerspective, RandomRotation, RandomRotation90
from .ops.views import Views
from .plan.batch_plan import BatchPlan
from .plan.views_plan import ViewsPlan
from .timm import from_timm

loader = Loader
__version__ = "0.1.0"

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "AugMix",
    "Augment",
    "Augmentation",
    "AutoAugment",
    "BatchPlan",
    "CenterCrop",
    "ColorJitter",
    "CornerCrop",
    "CutMix",
    "Cutout",
    "Decode",
    "DecodeError",
    "FMix",
    "FiveCrop",
    "GaussianBlur",
    "GridMask",
    "GridMix",
    "HideAndSeek",
    "Loader",
    "MaskMix",
    "MixUp",
    "Mixture",
    "Normalize",
    "OneOf",
    "Pad",
    "Policy",
    "RandAugment",
    "RandomAdjustSharpness",
    "RandomAffine",
    "RandomApply",
    "RandomAutocontrast",
    "RandomChannelPermutation",
    "RandomCrop",
    "RandomEqualize",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomPerspective",
    "RandomPhotometricDistort",
    "RandomPosterize",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomRotation90",
    "RandomShortestSize",
    "RandomSolarize",
    "RandomVerticalFlip",
    "Resize",
    "ResizeMix",
    "Schedule",
    "TenCrop",
    "TimmPolicy",
    "TooManyBadFiles",
    "Translation",
    "TrivialAugmentWide",
    "Views",
    "ViewsPlan",
    "WorkerError",
    "from_timm",
    "from_torchvision",
    "loader",
    "merge",
    "recipes",
    "schedule",
]
