"""ViewsPlan: the plans of a batch of which each image is shown in several views."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..sampling.epoch import Ticket
from ..sampling.philox import MOST_VIEWS
from .batch_plan import BatchPlan
from .check import check_views
from .plan_file import Member, read, write

if TYPE_CHECKING:
    from ..data.source import Opened


@dataclass(frozen=True, eq=False)
class ViewsPlan:
    """A plan for each view of a batch: the same samples, row by row.

    ``plan.views[k]`` says what happens in view k, as a ``BatchPlan`` does for a batch of single images. It is
    printed, saved, loaded and replayed like one.

    Attributes:
        views: the plans.

    Example:
        >>> import fastaug
        >>> import numpy as np
        >>> data = np.zeros((8, 32, 32, 3), np.uint8), np.arange(8)
        >>> views = fastaug.Views([[fastaug.RandomResizedCrop(24)]] * 2 + [[fastaug.RandomResizedCrop(8)]])
        >>> with fastaug.loader(data, 4, augment=views, seed=0, with_plan=True) as loader:
        ...     images, targets, plan = next(iter(loader))
        >>> [view.size for view in plan.views], [list(view.shape) for view in images]
        ([(24, 24), (24, 24), (8, 8)], [[4, 3, 24, 24], [4, 3, 24, 24], [4, 3, 8, 8]])
    """

    views: tuple[BatchPlan, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.views) <= MOST_VIEWS:
            raise ValueError(f"a ViewsPlan has {len(self.views)} views; it must have 1 to {MOST_VIEWS}")

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """A column of the views' plans: an array ``[V, B]`` (or ``[V, B, ...]``)."""
        return np.stack([view[column] for view in self.views])

    @property
    def epoch(self) -> int:
        """The epoch that the batch belongs to."""
        return self.views[0].epoch

    @property
    def wanted(self) -> npt.NDArray[np.int64]:
        """int64 ``[B]``, the samples that the sampler asked for."""
        return self.views[0].wanted

    def ticket(self) -> Ticket:
        """What was asked for when the plan was drawn."""
        return self.views[0].ticket()

    def to(self, device: object, **_: object) -> ViewsPlan:
        """Itself: a plan stays on the host."""
        return self

    def take(self, keep: Sequence[int]) -> ViewsPlan:
        """A plan with only some of the rows; see ``BatchPlan.take``."""
        return ViewsPlan(tuple(view.take(keep) for view in self.views))

    def put(self, rows: Sequence[int], other: ViewsPlan) -> ViewsPlan:
        """A plan with other rows in the place of some, one for each."""
        each = zip(self.views, other.views, strict=True)
        return ViewsPlan(tuple(view.put(rows, theirs) for view, theirs in each))

    def decoded(self, decoders: Sequence[str]) -> ViewsPlan:
        """The same with what decoded each row."""
        return ViewsPlan(tuple(view.decoded(decoders) for view in self.views))

    def check(self, source: Opened | None = None, *, sizes: Sequence[tuple[int, int]] | None = None) -> None:
        """Raises when a view's plan asks for what the kernels cannot do, or views show different samples.

        Args:
            source: the data, whose samples and their sizes the plan must fit.
            sizes: (height, width) of each view that the loader makes.

        Raises:
            ValueError: names the view, the field, its row, its value and what is accepted.
        """
        check_views(self.views, source, sizes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the plan as .npz; nothing is left behind if that fails."""
        each = enumerate(view.members() for view in self.views)
        named = {f"{name}_{k}": value for k, members in each for name, value in members.items()}
        write(path, named | {"views": len(self.views)})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> ViewsPlan:
        """Reads what ``save`` wrote, and checks it: the file may be anybody's.

        Raises:
            OSError: when the file cannot be read.
            ValueError: when it holds no such plan of this version, or one that ``check`` refuses.
        """

        def of(member: Member) -> ViewsPlan:
            count = int(member("views"))
            if not 1 <= count <= MOST_VIEWS:
                raise ValueError(f"it has {count} views")
            return cls(tuple(BatchPlan.of(partial(_of_view, member, k)) for k in range(count)))

        return read(path, of)

    def __str__(self) -> str:
        return "\n\n".join(f"view {k}: {view}" for k, view in enumerate(self.views))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{height}x{width}" for height, width in (view.size for view in self.views))
        return f"<ViewsPlan of {len(self)} samples in views of {sizes} pixels>"


def _of_view(member: Member, k: int, name: str) -> npt.NDArray[Any]:
    return member(f"{name}_{k}")


Plan = BatchPlan | ViewsPlan
