"""Views: several images made of each one, by a list of augmentations each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from ..checks import shown
from ..sampling.philox import MOST_VIEWS
from .base import Augmentation
from .corners import FiveCrop

List = tuple[Augmentation, ...]
T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class Views:
    """Several views of each image, for self-supervised learning and for test-time augmentation.

    Each view has a list, a size and random numbers of its own; an image is read and decoded once for all of
    them. View k of a sample is the same at any number of views. A batch's images are a list of tensors, one
    for each view. Where views mix labels, the targets are such a list too.

    Args:
        lists: up to 256 lists, as ``fastaug.loader`` takes them for ``augment``. All must end with the same
            Normalize. A list with a ``FiveCrop`` or ``TenCrop`` is five or ten views.

    Raises:
        TypeError, ValueError: naming the view and the remedy.

    Example:
        >>> import fastaug
        >>> large = [fastaug.RandomResizedCrop(224, (0.4, 1)), fastaug.RandomHorizontalFlip()]
        >>> small = [fastaug.RandomResizedCrop(96, (0.05, 0.4)), fastaug.RandomHorizontalFlip()]
        >>> len(fastaug.Views([large] * 2 + [small] * 8))
        10
    """

    lists: Sequence[Sequence[Any]]

    def __post_init__(self) -> None:
        if not isinstance(self.lists, (list, tuple)) or not self.lists:
            raise TypeError(f"Views takes a list of lists, one for each view, not {shown(self.lists)}")
        if len(self.lists) > MOST_VIEWS:
            raise ValueError(f"Views has {len(self.lists)} lists; at most {MOST_VIEWS} views are possible")
        for k, each in enumerate(self.lists):
            if not isinstance(each, (list, tuple)):
                raise TypeError(
                    f"Views: view {k} must be a list of augmentations, not {shown(each)}; a view's recipe is "
                    "fastaug.recipes.recipe(name)"
                )
        object.__setattr__(self, "lists", tuple(tuple(each) for each in self.lists))

    def __len__(self) -> int:
        return len(self.lists)

    def __repr__(self) -> str:
        said = (f"[[{', '.join(map(repr, ops))}]]" + f" * {n}" * (n > 1) for ops, n in runs(self.lists))
        return f"Views({' + '.join(said)})"


Listing = List | Views


def lists_of(listing: Listing) -> tuple[List, ...]:
    """The list of each view."""
    return tuple(listing.lists) if isinstance(listing, Views) else (listing,)  # type: ignore[arg-type]


def runs(values: Iterable[T]) -> list[tuple[T, int]]:
    """Equal values that follow each other, and how many they are."""
    return [(value, len(list(same))) for value, same in groupby(values)]


def said_listing(listing: Sequence[Any] | Views) -> str:
    """For people, and in states."""
    return repr(listing) if isinstance(listing, Views) else ", ".join(map(repr, listing))


def each_list(listing: Listing, change: Callable[[List], List]) -> Listing:
    """The same with every list changed."""
    if isinstance(listing, Views):
        return Views([change(ops) for ops in lists_of(listing)])
    return change(listing)


def expanded(ops: Sequence[Augmentation]) -> Listing:
    """A list with a crop that makes several images as the views that it means.

    Raises:
        ValueError: where there are two of them.
    """
    places = [k for k, op in enumerate(ops) if isinstance(op, FiveCrop)]
    if not places:
        return tuple(ops)
    if len(places) > 1:
        raise ValueError(f"augment holds {ops[places[1]]!r} behind {ops[places[0]]!r}; keep one of them")
    k, crop = places[0], ops[places[0]]
    assert isinstance(crop, FiveCrop)
    return Views([(*ops[:k], *part, *ops[k + 1 :]) for part in crop.parts()])
