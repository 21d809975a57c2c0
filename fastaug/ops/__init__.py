"""The augmentations. Those that are listed here are drawn, and no subclass: its code would not be run."""

from .augmix import AugMix
from .base import Augmentation
from .colour import ColorJitter, GaussianBlur, RandomPhotometricDistort
from .corners import CornerCrop
from .crop import CenterCrop, RandomResizedCrop, RandomShortestSize, Resize
from .cutout import Cutout
from .erasing import RandomErasing
from .flip import RandomHorizontalFlip, RandomVerticalFlip
from .grid_mask import GridMask
from .hide import HideAndSeek
from .mask_mix import FMix, GridMix, ResizeMix
from .mixing import CutMix, MixUp
from .normalize import Normalize
from .one_of import OneOf, RandomApply
from .pad import Pad, RandomCrop
from .point import (
    RandomAdjustSharpness,
    RandomAutocontrast,
    RandomChannelPermutation,
    RandomEqualize,
    RandomGrayscale,
    RandomInvert,
    RandomPosterize,
    RandomSolarize,
)
from .rand_augment import RandAugment, TrivialAugmentWide
from .sequences import AutoAugment, Policy
from .timm_policy import TimmPolicy
from .turns import RandomAffine, RandomPerspective, RandomRotation, RandomRotation90

# In the order of a plan's columns.
OPERATIONS: tuple[type[Augmentation], ...] = (
    RandomResizedCrop,
    Resize,
    RandomShortestSize,
    CenterCrop,
    RandomCrop,
    CornerCrop,
    Pad,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    RandAugment,
    TrivialAugmentWide,
    AugMix,
    AutoAugment,
    Policy,
    TimmPolicy,
    ColorJitter,
    RandomPhotometricDistort,
    RandomGrayscale,
    GaussianBlur,
    RandomSolarize,
    RandomPosterize,
    RandomInvert,
    RandomAutocontrast,
    RandomEqualize,
    RandomAdjustSharpness,
    RandomChannelPermutation,
    RandomRotation,
    RandomAffine,
    RandomPerspective,
    RandomRotation90,
    GridMask,
    HideAndSeek,
    Cutout,
    RandomErasing,
    MixUp,
    CutMix,
    FMix,
    GridMix,
    ResizeMix,
    OneOf,
    RandomApply,
    Normalize,
)
