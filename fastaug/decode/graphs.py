"""The DALI graphs: encoded images and boxes in, pixels out. DALI is loaded when first needed, said how to
install where it is missing, and left alone after a fork.

All graphs are of depth 1: a decode is one call with its own result, and overlap comes from the loader's
threads, so nothing is ever prefetched that a jump would have to throw away.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from dataclasses import dataclass
from functools import cache
from typing import Any

from ..checks import number, one_of, plain, whole
from ..machine.limits import with_remedy

PLACES = ("auto", "cpu", "dali", "gpu")
_ROOM = 8  # threads that DALI starts beside those that it is told to

_built: list[weakref.ref[Any]] = []


@dataclass(frozen=True)
class Decode:
    """Where and how images are decoded.

    Args:
        place: "auto": "gpu" for batches on a CUDA device, else "cpu". "cpu": the box's pixels on the CPU,
            scaled there within 1 of Pillow; fastaug's box decoder decodes sequential JPEGs, DALI the rest.
            "dali": the same pixels, all by DALI, slower. "gpu": whole images by nvJPEG, then the box scaled
            on the GPU. Not the box alone by nvJPEG: nvImageCodec 0.9 was reported to crash so on an H100
            (https://github.com/NVIDIA/nvImageCodec/issues/55).
        threads: CPU threads that decode, 1 to 1024; None: the loader's ``num_workers``.
        hw_decoder_load: share of a batch's JPEGs that go to the GPU's JPEG engine where it has one
            (A100, H100 and their like), 0 to 1. 0.65 is DALI's default; NVIDIA advises trying.
        truncated: "error": a file that is cut off is bad, where the decoder finds it so. "pad": what is
            missing is filled by the decoder, gray in JPEGs, black elsewhere.
        strict: False: damage in a JPEG that libjpeg only warns of (codes that do not exist, more data than
            blocks, markers that do not belong) is read past, as libjpeg does. True: it is an error where the
            box decoder meets it; progressive JPEGs are not its own, and no more of a file is looked at than
            the box needs.
        scaled: True: where a box is at least twice, four or eight times as large as what is made of it,
            along both axes, the box decoder decodes so many times fewer pixels, by a smaller inverse DCT.
            Faster for large photographs, and not the same pixels: docs/decoding.md says how near.
        icc: None: colour profiles are ignored, as torchvision does. "srgb": images with one are decoded by
            Pillow, slower, and converted to sRGB by its ImageCms.

    Example:
        >>> import fastaug
        >>> fastaug.Decode("gpu", hw_decoder_load=0.9).place
        'gpu'
    """

    place: str = "auto"
    threads: int | None = None
    hw_decoder_load: float = 0.65
    truncated: str = "error"
    strict: bool = False
    scaled: bool = False
    icc: str | None = None

    def __post_init__(self) -> None:
        for name in ("threads", "hw_decoder_load"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        one_of("Decode place", self.place, PLACES)
        one_of("Decode truncated", self.truncated, ("error", "pad"))
        one_of("Decode icc", self.icc, (None, "srgb"))
        one_of("Decode strict", self.strict, (False, True))
        one_of("Decode scaled", self.scaled, (False, True))
        for name in ("strict", "scaled"):
            if getattr(self, name) and self.place in ("dali", "gpu"):
                raise ValueError(f"Decode {name}=True is the box decoder's: leave place={self.place!r} out")
        if self.strict and self.truncated == "pad":
            raise ValueError("Decode strict=True makes cut files errors: leave truncated='pad' out")
        if self.threads is not None:
            whole("Decode threads", self.threads, 1, 1024)
        number("Decode hw_decoder_load", self.hw_decoder_load, 0, 1)


def crops_graph(*, files: bool, batch_size: int, threads: int) -> Any:
    """The boxes' pixels on the CPU. Inputs: ``data`` uint8 (paths, or encoded images) and ``box``
    int32 (y0, x0, h, w) in pixels of the image. Output: uint8 HWC, RGB, h x w."""
    dali = load_dali()
    fn, types = dali.fn, dali.types

    @dali.pipeline_def(batch_size=batch_size, num_threads=threads, device_id=None, prefetch_queue_depth=1)
    def graph():  # type: ignore[no-untyped-def]
        box = _input(dali, "box", types.INT32)
        return fn.decoders.image_slice(
            _encoded(dali, files), box[:2], box[2:], axes=[0, 1], output_type=types.RGB
        )

    return graph()


def images_graph(
    decode: Decode,
    decoding: tuple[str, int | None],
    *,
    files: bool,
    batch_size: int,
    threads: int,
    size: tuple[int, int],
    interpolation: str,
) -> Any:
    """Images at the output's size, on the GPU: the box is cut out, then scaled (and flipped).

    Cut out first, because scaling a region reads pixels around it, which a random crop must not.
    Inputs: ``data`` and ``box`` as in ``crops_graph``; ``roi`` float32 (y0, x0, y1, x1), what the
    output shows, in pixels of the box; x0 > x1 mirrors. Output: uint8 HWC, RGB, ``size``.

    Args:
        decode: DALI's options.
        decoding: DALI's decoder device, "mixed" for nvJPEG, and device number. ("cpu", None) is the
            same graph on the CPU.
        files: ``data`` holds paths, not encoded images.
        batch_size: the largest batch.
        threads: CPU threads inside DALI.
        size: (height, width) of the output.
        interpolation: "nearest", "bilinear" or "bicubic".
    """
    dali = load_dali()
    fn, types = dali.fn, dali.types
    backend, number = decoding
    kinds = {"nearest": types.INTERP_NN, "bilinear": types.INTERP_LINEAR, "bicubic": types.INTERP_CUBIC}
    options = dict(device=backend, output_type=types.RGB)
    if backend == "mixed":
        options.update(hw_decoder_load=decode.hw_decoder_load)

    @dali.pipeline_def(batch_size=batch_size, num_threads=threads, device_id=number, prefetch_queue_depth=1)
    def graph():  # type: ignore[no-untyped-def]
        encoded = _encoded(dali, files)
        box, roi = _input(dali, "box", types.INT32), _input(dali, "roi", types.FLOAT)
        images = fn.slice(fn.decoders.image(encoded, **options), box[:2], box[2:], axes=[0, 1])
        return fn.resize(
            images,
            size=list(size),
            roi_start=roi[:2],
            roi_end=roi[2:],
            antialias=True,
            interp_type=kinds[interpolation],
        )

    return graph()


def _input(dali: Any, name: str, dtype: Any, **options: Any) -> Any:
    return dali.fn.external_source(name=name, dtype=dtype, ndim=1, batch=True, **options)


def _encoded(dali: Any, files: bool) -> Any:
    data = _input(dali, "data", dali.types.UINT8, no_copy=True)
    # Read, not mapped: of a mapped file that is cut off just then, the process would die (SIGBUS).
    return dali.fn.io.file.read(data, dont_use_mmap=True) if files else data


@cache
def load_dali() -> Any:
    """The module ``nvidia.dali``, with ``fn`` and ``types`` loaded.

    Raises:
        ImportError: with the pip line, when DALI is not installed.
    """
    try:
        import nvidia.dali as dali
        import nvidia.dali.fn
        import nvidia.dali.types  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "NVIDIA DALI, which decodes what is no sequential JPEG, on the CPU too, is not installed; "
            "run `pip install 'fastaug[cuda12]'` (or `fastaug[cuda13]`)"
        ) from error
    return dali


def built(pipe: Any) -> Any:
    """The pipeline, built.

    Raises:
        RuntimeError: when there is no room for its threads; DALI would end the process.
    """
    _start_threads(2 * pipe.num_threads + _ROOM)
    pipe.build()
    _built[:] = [known for known in _built if known() is not None] + [weakref.ref(pipe)]
    return pipe


def _start_threads(count: int) -> None:
    """Starts so many threads at once, which end again."""
    end, threads = (
        threading.Event(),
        [threading.Thread(target=lambda: end.wait(), daemon=True) for _ in range(count)],
    )
    try:
        for thread in threads:
            thread.start()
    except RuntimeError as error:
        raise with_remedy(error) from error
    finally:
        end.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _forked() -> None:
    """Takes our pipelines' insides away in a process that was forked off, and keeps them. To be freed
    they wait for threads that are not here; DALI does that when Python ends, if nobody did before."""
    for pipe in [known() for known in _built]:
        inside = getattr(pipe, "_pipe", None)
        if pipe is not None and inside is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(inside))
            pipe._pipe = None
    _built.clear()


os.register_at_fork(after_in_child=_forked)
