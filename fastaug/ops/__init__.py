"""The augmentations. Those that are listed here are drawn, and no subclass: its code would not be run."""

from .augmix import AugMix
from .base import Augmentation
from .colour import ColorJitter, GaussianBlur, RandomGrayscale, RandomSolarize
from .crop import CenterCrop, RandomResizedCrop, Resize
from .cutout import Cutout
from .erasing import RandomErasing
from .flip import RandomHorizontalFlip, RandomVerticalFlip
from .grid_mask import GridMask
from .hide import HideAndSeek
from .mixing import CutMix, MixUp
from .normalize import Normalize
from .one_of import OneOf
from .rand_augment import RandAugment, TrivialAugmentWide
from .sequences import AutoAugment, Policy
from .timm_policy import TimmPolicy

# In the order of a plan's columns.
OPERATIONS: tuple[type[Augmentation], ...] = (
    RandomResizedCrop,
    Resize,
    CenterCrop,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    RandAugment,
    TrivialAugmentWide,
    AugMix,
    AutoAugment,
    Policy,
    TimmPolicy,
    ColorJitter,
    RandomGrayscale,
    GaussianBlur,
    RandomSolarize,
    GridMask,
    HideAndSeek,
    Cutout,
    RandomErasing,
    MixUp,
    CutMix,
    OneOf,
    Normalize,
)
