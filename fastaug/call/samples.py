"""Calls a data set for one sample after another, each under random numbers of its own, and crops what it
gives."""

from __future__ import annotations

import os
import random
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..checks import first_line
from ..data.form import RGB, Form, Raster, encoded, pixels_of
from ..data.headers import read_header
from ..data.scanned import number_of
from ..data.source import Cropped, Encoded, Fault, Item, Kind, Pixels
from ..decode.jobs import jobs_of
from ..decode.scale import boxes_in_memory, carry_out, placed, scale_wide
from ..machine.limits import reason_of
from ..plan.planner import Planner, ViewsPlanner
from ..sampling.epoch import Ticket
from ..sampling.philox import Stream
from .rows import Rows

_HELD = 1 << 24  # bytes of whole images, past which those that are there are cropped


@dataclass(frozen=True, eq=False)
class Picture:
    """A PIL image in RGB: what of its pixels is needed is copied, and no more.

    Attributes:
        image: the image, loaded.
    """

    image: Image.Image

    def pixels(self, box: tuple[int, int, int, int] | None = None) -> Pixels:
        """Its pixels, or those of a box (y0, x0, h, w)."""
        if box is None:
            return Pixels(np.asarray(self.image))
        y, x, h, w = box
        return Pixels(np.asarray(self.image.crop((x, y, x + w, y + h))))


@dataclass(frozen=True)
class Calling:
    """A data set, and how it is called.

    Attributes:
        dataset: map-style, as torch has it.
        name: of its class, for messages.
        form: of its samples.
        keyed: seed ``random``, NumPy and torch from (seed, epoch, sample) before each call.
        max_pixels: encoded images with more are not decoded.
        raster: of its images' pixels.
        stripped: whether its transform is taken out for the calls.
    """

    dataset: Any
    name: str
    form: Form
    keyed: bool
    max_pixels: int | None
    raster: Raster = RGB
    stripped: bool = False

    def samples(
        self, ticket: Ticket, telling: Callable[[int], None] = lambda sample: None
    ) -> Iterator[tuple[Item | Picture | Fault, tuple[Any, ...] | None]]:
        """Each sample's image and fields, or why there are none.

        Args:
            ticket: which.
            telling: is told each sample's number before it is called.

        Raises:
            OSError, MemoryError: for faults of the machine.
        """
        ids: list[int] = ticket.ids.tolist()
        words = ticket.keys().words(Stream.CALL).astype(np.uint64) if self.keyed else None
        batch = getattr(self.dataset, "__getitems__", None)
        together: list[Any] | None = None
        if callable(batch) and words is None:  # as torch calls it
            together = self._together(batch, ids)
        for k, i in enumerate(ids):
            telling(i)
            if words is not None:
                seed_all(int(words[0, k] << 32 | words[1, k]), int(words[2, k]))
            try:
                sample = together[k] if together else batch([i])[0] if callable(batch) else self.dataset[i]
                image, fields = self.form.split(sample)
                yield self._item(image), fields
            except MemoryError:
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno is not None:
                    reason_of(error)
                yield Fault(self._said(error)), None

    def _together(self, batch: Callable[[list[int]], Any], ids: list[int]) -> list[Any] | None:
        """What ``__getitems__`` gives; None where it fails: then each sample is asked for alone."""
        try:
            found = list(batch(ids))
            return found if len(found) == len(ids) else None
        except Exception:
            return None

    def _item(self, image: Any) -> Item | Picture:
        if isinstance(image, Image.Image) and image.mode == "RGB" and not self.raster.wide:
            image.load()  # it may have been opened only
            return Picture(image)
        data = encoded(image)
        return Pixels(pixels_of(image, self.raster)) if data is None else Encoded(data)

    def _said(self, error: Exception) -> str:
        """What went wrong, and where in the user's code."""
        frames = traceback.extract_tb(error.__traceback__)[1:]  # behind our own
        last = next((f for f in reversed(frames)), None)
        where = f" ({os.path.basename(last.filename)}, line {last.lineno}, in {last.name})" if last else ""
        trace = "".join(traceback.format_list(frames)).rstrip()
        return f"{type(error).__name__}: {first_line(error)}{where}" + (f"\n{trace}" if trace else "")


def seed_all(seed: int, short: int) -> None:
    """Seeds Python's, NumPy's and torch's generators on the CPU.

    Args:
        seed: 64 bits.
        short: 32 bits, which is what NumPy's takes.
    """
    random.seed(seed)
    np.random.seed(short)
    torch.default_generator.manual_seed(seed)


@dataclass(eq=False)
class Answer:
    """What a data set gave for a ticket.

    Attributes:
        height: int64 ``[B]``, of the images; 1 where there is none.
        width: likewise.
        kind: uint8 ``[B]``.
        items: the images, or faults.
        fields: a tuple each; None of faults.
    """

    height: npt.NDArray[np.int64]
    width: npt.NDArray[np.int64]
    kind: npt.NDArray[np.uint8]
    items: list[Item | Picture | Fault | None]
    fields: list[tuple[Any, ...] | None] = field(default_factory=list)

    @classmethod
    def empty(cls, n: int) -> Answer:
        return cls(np.ones(n, np.int64), np.ones(n, np.int64), np.zeros(n, np.uint8), [None] * n)

    def put(
        self, k: int, item: Item | Picture | Fault, fields: tuple[Any, ...] | None, max_pixels: int | None
    ) -> None:
        """Takes sample k in."""
        self.fields.append(fields)
        if isinstance(item, Picture):
            self.width[k], self.height[k] = item.image.size
            self.kind[k] = Kind.PIXELS
        elif isinstance(item, Pixels):
            self.height[k], self.width[k], self.kind[k] = *item.array.shape[:2], Kind.PIXELS
        elif isinstance(item, Encoded):
            header = read_header(item.data)
            if not header.height:
                item = Fault(header.reason)
            elif max_pixels is not None and header.height * header.width > max_pixels:
                item = Fault(f"{header.height}x{header.width} pixels are more than max_pixels={max_pixels}")
            else:
                self.height[k], self.width[k], self.kind[k] = header.height, header.width, number_of(header)
        self.items[k] = item


def answered(calling: Calling, ticket: Ticket) -> Answer:
    """Calls a data set for a ticket's samples; their images stay whole."""
    answer = Answer.empty(len(ticket.ids))
    for k, (item, fields) in enumerate(calling.samples(ticket)):
        whole = item.pixels() if isinstance(item, Picture) else item
        answer.put(k, whole, fields, calling.max_pixels)
    return answer


def cropped(
    calling: Calling,
    planner: Planner | ViewsPlanner,
    ticket: Ticket,
    out: Rows,
    telling: Callable[[int], None],
) -> Answer:
    """The same, with the crops of images that are pixels made: they depend on the sample's key alone.

    Args:
        calling: the data set.
        planner: draws the crops.
        ticket: which samples.
        out: where the crops of the first samples go; those beyond are the answer's items.
        telling: as in ``Calling.samples``.
    """
    answer, waiting, held = Answer.empty(len(ticket.ids)), list[int](), 0
    for k, (item, fields) in enumerate(calling.samples(ticket, telling)):
        answer.put(k, item, fields, calling.max_pixels)
        if isinstance(item, (Pixels, Picture)):
            waiting.append(k)
            held += int(answer.height[k] * answer.width[k]) * calling.raster.bytes
        if held > _HELD:
            _crop(answer, planner, ticket, waiting, out)
            waiting, held = [], 0
    if waiting:
        _crop(answer, planner, ticket, waiting, out)
    return answer


def _crop(
    answer: Answer, planner: Planner | ViewsPlanner, ticket: Ticket, samples: list[int], out: Rows
) -> None:
    which = np.array(samples)
    fits = planner.fits(answer.height[which], answer.width[which])
    for k in which[~fits].tolist():  # said by whoever plans for it
        answer.items[k] = None
    which = which[fits]
    if not len(which):
        return
    plan = planner.crops(ticket.take(which), answer.height[which], answer.width[which])
    jobs = jobs_of(plan, np.arange(len(which)), [], answer.kind[which])
    items: list[Any] = [answer.items[k] for k in which.tolist()]
    for k, item in enumerate(items):
        if isinstance(item, Picture):
            items[k] = item.pixels(tuple(jobs.boxes[k].tolist()))
            jobs.boxes[k, :2] = 0  # cut out already
    jobs = replace(jobs, items=items)
    beyond = which[-1] >= len(out)
    target = Rows.of(len(which), out.sizes, out.raster) if beyond else out
    places, count = (np.arange(len(which)) if beyond else which), len(which)
    if out.raster.wide:
        scale_wide(jobs, lambda k: target.image(k // count, int(places[k % count])))
    else:
        scalings = placed(jobs, boxes_in_memory(jobs))
        view, row = np.divmod(jobs.views["row"], count)
        scalings["out"] = target.addresses(view, places[row])
        carry_out(scalings)
    for k, sample in enumerate(which.tolist()):
        answer.items[sample] = Cropped(target.images(k)) if beyond else None
        answer.kind[sample] = Kind.CROPPED
