"""Mixing by masks of any shape, and by a whole partner scaled into a box."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ..checks import interval, number, shown, whole
from ..sampling.philox import Keys, Stream, integers, normals
from .base import Draft, Floats, Per
from .mixing import LATER, MIX_MASK, MIX_NONE, MIX_RESIZE, BetaMixing, Mixing, Units, paste

Masks = npt.NDArray[np.bool_]
_LEVELS = 1 << 24  # of FMix's noise


@dataclass(frozen=True)
class MaskMix(BetaMixing):
    """Base of what shows a partner where a mask says: labels are weighed by its area, exactly.

    lam ~ Beta(alpha, alpha) is about the own image's share. Partners as in MixUp. Draws depend on (seed,
    epoch, batch). A plan holds the masks, a bit for each pixel. A class of your own that gives ``masks``, a
    frozen dataclass, stands in a list as FMix does.

    Args:
        alpha: above 0.
        per: as in MixUp; a mask each.
        p: probability, applied per batch, pair or sample.

    Example:
        >>> import fastaug
        >>> import numpy as np
        >>> class Halves(fastaug.MaskMix):
        ...     def masks(self, lam, keys, stream, size):
        ...         return np.broadcast_to(np.arange(size[1]) >= size[1] // 2, (len(lam), *size))
        >>> data = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4)
        >>> with fastaug.loader(data, 4, augment=[Halves(1.0)], num_classes=4, with_plan=True) as loader:
        ...     _, _, plan = next(iter(loader))
        >>> sorted(set(plan["lam"].tolist()))[0]
        0.5
    """

    stream: ClassVar[int | None] = Stream.MASK_MIX

    def masks(self, lam: Floats, keys: Keys, stream: int, size: tuple[int, int]) -> Masks:
        """Where partners are shown: bool ``[U, H, W]``.

        Args:
            lam: float64 ``[U]``, the own images' shares.
            keys: of the masks: ``keys.uniforms(stream, count, LATER)`` is float64 ``[count, U]`` in (0, 1).
            stream: of random numbers.
            size: (H, W).
        """
        raise NotImplementedError

    def mix(self, draft: Draft, units: Units, stream: int) -> None:
        used = np.unique(units.unit[units.on])
        if not len(used):
            draft.fill(mix=MIX_NONE, lam=1.0)
            return
        masks = self.masks(units.lam[used], units.keys[used], stream, draft.size)
        if np.shape(masks) != (len(used), *draft.size) or np.asarray(masks).dtype != bool:
            raise ValueError(
                f"{type(self).__name__}.masks gives {shown(masks)}; it must give bool "
                f"{[len(used), *draft.size]}"
            )
        lam = np.ones(len(units.lam))
        lam[used] = 1 - masks.mean((1, 2))
        place = np.zeros(len(units.lam), np.int64)
        place[used] = draft.mask(masks) + np.arange(len(used))
        on, unit = units.on, units.unit
        draft.fill(mix=np.where(on, MIX_MASK, MIX_NONE), lam=np.where(on, lam[unit], 1.0))
        draft.fill(mix_mask=np.where(on, place[unit], 0))


@dataclass(frozen=True)
class FMix(MaskMix):
    """Blobs of the partner, of low-frequency noise (Harris et al. 2020, https://arxiv.org/abs/2002.12047).

    Complex normal noise, divided by frequency ** decay_power, is turned back into an image; where it is
    lowest the partner is shown, 1 - lam of the pixels, rounded.

    Args:
        alpha: above 0; 1.0 in the paper.
        per: as in MixUp; "batch" in the paper. A mask of 224 x 224 pixels takes about 5 ms.
        p: probability, applied per batch, pair or sample.
        decay_power: 3 in the paper; the larger, the larger blobs are.

    Example:
        >>> import fastaug
        >>> fastaug.FMix()
        FMix(alpha=1.0, per='batch', p=1.0, decay_power=3.0)
    """

    alpha: float = 1.0
    decay_power: float = 3.0

    stream: ClassVar[int | None] = Stream.FMIX

    def _check(self) -> None:
        super()._check()
        number("FMix decay_power", self.decay_power, 0, 100)

    def masks(self, lam: Floats, keys: Keys, stream: int, size: tuple[int, int]) -> Masks:
        height, width = size
        down, over = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
        frequency = np.maximum(np.sqrt(down**2 + over**2), 1 / max(size))
        out = np.zeros((len(lam), height * width), bool)
        for k in range(len(lam)):
            u = keys[k : k + 1].uniforms(stream, 4 * frequency.size, LATER)[:, 0].reshape(4, *frequency.shape)
            noise = normals(u[0], u[1]) + 1j * normals(u[2], u[3])
            image = np.fft.irfft2(noise / frequency**self.decay_power, size)
            count = int(np.floor((1 - lam[k]) * image.size + 0.5))
            levels = np.rint(
                image / np.abs(image).max() * _LEVELS
            )  # the same whatever FFTs and logarithms round
            out[k, np.argsort(levels, None, kind="stable")[:count]] = True
        return out.reshape(-1, height, width)


@dataclass(frozen=True)
class GridMix(MaskMix):
    """Cells of the partner in a grid (Baek, Bang and Shim 2021, Pattern Recognition 109, 107594).

    Of n x n cells 1 - lam, rounded, show the partner, drawn without replacement.

    Args:
        alpha: above 0.
        per: as in MixUp.
        p: probability, applied per batch, pair or sample.
        n: cells along a side, 2 to 64.

    Example:
        >>> import fastaug
        >>> fastaug.GridMix(per="sample").n
        4
    """

    alpha: float = 1.0
    n: int = 4

    stream: ClassVar[int | None] = Stream.GRID_MIX

    def _check(self) -> None:
        super()._check()
        whole("GridMix n", self.n, 2, 64)

    def masks(self, lam: Floats, keys: Keys, stream: int, size: tuple[int, int]) -> Masks:
        cells = self.n * self.n
        rank = keys.words(stream, -(-cells // 4), LATER)[:cells].argsort(0, kind="stable").argsort(0)
        shown = (rank < np.floor((1 - lam) * cells + 0.5)).T.reshape(-1, self.n, self.n)
        down, over = (np.arange(side) * self.n // side for side in size)
        masks: Masks = shown[:, down[:, None], over]
        return masks


@dataclass(frozen=True)
class ResizeMix(Mixing):
    """The whole partner, made small, pasted in (Qin et al. 2020, https://arxiv.org/abs/2012.11101).

    tau ~ U(scope); the partner is scaled to tau of the image's sides, rounded down, bilinearly and without
    antialiasing, and lies anywhere in it; lam is 1 less its share of the area. Partners as in MixUp. Draws
    depend on (seed, epoch, batch).

    Args:
        scope: tau's least and largest, in (0, 1]; the paper's.
        per: as in MixUp.
        p: probability, applied per batch, pair or sample.

    Example:
        >>> import fastaug
        >>> fastaug.ResizeMix((0.2, 0.6)).scope
        (0.2, 0.6)
    """

    scope: tuple[float, float] = (0.1, 0.8)
    per: Per = "batch"
    p: float = 1.0

    stream: ClassVar[int | None] = Stream.RESIZE_MIX

    def _check(self) -> None:
        super()._check()
        self._set(scope=interval("ResizeMix scope", self.scope, 0, 1))

    def mix(self, draft: Draft, units: Units, stream: int) -> None:
        low, high = self.scope
        tau = low + units.keys.uniforms(stream, 1, LATER)[0] * (high - low)
        boxes = []
        for length, place in zip(draft.size, units.u, strict=True):
            side = np.maximum(np.floor(length * tau), 1).astype(np.int64)
            first = integers(place, 0, length - side + 1)
            boxes.append((first[units.unit], (first + side)[units.unit]))
        paste(draft, units.on, MIX_RESIZE, boxes)
