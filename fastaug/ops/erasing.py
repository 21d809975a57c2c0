"""RandomErasing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from ..checks import colour, interval, number, one_of, whole
from ..sampling.philox import Stream, integers
from .base import Draft, Fill, Step
from .holes import Holes, add_hole

_COUNT = 1 << 12  # draws of a box; behind the first the number of boxes is drawn


@dataclass(frozen=True)
class RandomErasing(Holes):
    """One erased rectangle (Zhong et al. 2017, https://arxiv.org/abs/1708.04896).

    With probability ``p``, up to ``tries`` times: an area of scale x the image's and an aspect a;
    h = sqrt(area * a), w = sqrt(area / a), rounded; the first with h < H and w < W is placed
    uniformly; none: nothing is erased. Defaults are torchvision's ``RandomErasing``.

    Args:
        p: probability.
        scale: erased share of the image, 0 < low <= high <= 1.
        ratio: height / width, 0 < low <= high.
        value: a number or (red, green, blue) in output units, or "random": normal noise (mean 0,
            deviation 1 in output units; of dtype uint8 ImageNet's mean and deviation, cut off at 0 and 255),
            keyed for each pixel.
        aspect: "log" draws the aspect log-uniform (torchvision, timm); "linear" uniform (the
            paper's code, PaddleClas), which makes most boxes taller than wide.
        tries: how often a box that does not fit is drawn again, 1 to 1000.
        max_count: 1 to so many boxes, each of a share of the area, as timm's ``re_count``; at most 8.

    Example:
        >>> import fastaug
        >>> fastaug.RandomErasing(0.25, value="random").tries
        10
    """

    p: float = 0.5
    scale: tuple[float, float] = (0.02, 0.33)
    ratio: tuple[float, float] = (0.3, 3.3)
    value: Fill | Literal["random"] = 0.0
    aspect: Literal["log", "linear"] = "log"
    tries: int = 10
    max_count: int = 1

    stream: ClassVar[int | None] = Stream.ERASING

    def _check(self) -> None:
        number("RandomErasing p", self.p, 0, 1)
        self._set(
            scale=interval("RandomErasing scale", self.scale, 0, 1),
            ratio=interval("RandomErasing ratio", self.ratio, 0),
        )
        one_of("RandomErasing aspect", self.aspect, ("log", "linear"))
        whole("RandomErasing tries", self.tries, 1, 1000)
        whole("RandomErasing max_count", self.max_count, 1, 8)
        if isinstance(self.value, str):
            one_of("RandomErasing value, when it is a str,", self.value, ("random",))
        else:
            self._set(value=colour("RandomErasing value", self.value))

    @property
    def most(self) -> int:
        return self.max_count

    def draw(self, draft: Draft, step: Step) -> None:
        on = draft.keys.uniforms(step.stream)[0] < self.p
        count = np.ones(len(draft), np.int64)
        if self.max_count > 1:
            count = integers(draft.keys.uniforms(step.stream, 1, _COUNT)[0], 1, self.max_count + 1)
        for box in range(self.max_count):
            self._box(draft, step, np.flatnonzero(on & (count > box)), count, box * _COUNT)

    def _box(
        self, draft: Draft, step: Step, todo: npt.NDArray[np.intp], count: npt.NDArray[np.int64], first: int
    ) -> None:
        """Draws a box for each of some rows, whose areas are divided by their counts."""
        height, width = draft.size
        noise = self.value == "random"
        fill = (0.0, 0.0, 0.0) if noise else self.value
        low, high = np.log(self.ratio) if self.aspect == "log" else self.ratio
        for attempt in range(1, self.tries + 1):
            if not todo.size:
                break
            u = draft.keys[todo].uniforms(step.stream, 4, first + attempt)
            area = height * width * (self.scale[0] + u[0] * (self.scale[1] - self.scale[0])) / count[todo]
            aspect = low + u[1] * (high - low)
            aspect = np.exp(aspect) if self.aspect == "log" else aspect
            h, w = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
            fits = (h < height) & (w < width)
            h, w = h[fits].astype(np.int64), w[fits].astype(np.int64)
            y0, x0 = integers(u[2][fits], 0, height - h + 1), integers(u[3][fits], 0, width - w + 1)
            add_hole(draft, todo[fits], (y0, x0, y0 + h, x0 + w), fill, noise)  # type: ignore[arg-type]
            todo = todo[~fits]
