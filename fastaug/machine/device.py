"""What the line asks of the host and of the device that batches are made for: memory, copies, streams,
launches.

``PlainDevice`` serves every device without streams of its own. ``CudaDevice`` is all of fastaug that
only a machine with a GPU can run, so it is kept to calls of torch and CuPy, without decisions.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from . import nvrtc

_ALIGN = 64
_KEEP = 4  # free buffers kept, the largest

Buffer = tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]  # the memory, and the array of it that is lent


class Pool:
    """Lends NumPy buffers, and lends them again when nobody uses them any more: the smallest that is large
    enough, so that batches of many sizes need no more memory than a few of the largest.

    Who still uses one is read off reference counts when the next is asked for. A finalizer would run on the
    thread that drops a batch, the user's, and a KeyboardInterrupt that hits it there would be lost. The lent
    array is what ``torch.from_numpy`` tensors, their views and whatever autograd saved keep alive.
    """

    def __init__(self) -> None:
        self._buffers: list[Buffer] = []
        self._lock = threading.Lock()
        self._unused = _counts(_buffer(np.empty(1 + _ALIGN, np.uint8), (1,), np.dtype(np.uint8)))

    def take(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of unspecified content, its first element at a multiple of 64 bytes."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize + _ALIGN
        with self._lock:
            free = [buffer for buffer in self._buffers if _counts(buffer) == self._unused]
            free.sort(key=lambda buffer: -buffer[0].nbytes)
            fitting = next((buffer for buffer in reversed(free) if buffer[0].nbytes >= size), None)
            for dropped in [*free[_KEEP:], *([] if fitting is None else [fitting])]:
                self._buffers = [buffer for buffer in self._buffers if buffer is not dropped]
            made = _buffer(np.empty(size, np.uint8) if fitting is None else fitting[0], shape, kind)
            self._buffers.append(made)
            return made[1]


def _buffer(memory: npt.NDArray[np.uint8], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Buffer:
    start, size = -memory.ctypes.data % _ALIGN, int(np.prod(shape)) * dtype.itemsize
    return memory, memory[start : start + size].view(dtype).reshape(shape)


def _counts(buffer: Buffer) -> tuple[int, int]:
    """How often memory and array are referred to; always counted from here, so numbers can be compared."""
    return sys.getrefcount(buffer[0]), sys.getrefcount(buffer[1])


@dataclass(frozen=True)
class Launch:
    """A kernel launch as data: described first, carried out second.

    Attributes:
        kernel: its name, "program_…", in program.cu.
        grid: number of blocks.
        block: threads of a block.
        arguments: NumPy scalars of the kernel's own types, addresses as uint64.
    """

    kernel: str
    grid: int
    block: int
    arguments: tuple[np.generic, ...]


class Timing(NamedTuple):
    """What some calls cost.

    Attributes:
        device: seconds of the device alone.
        host: seconds that the host took to start them.
        queued: whether the device still paused when the last was started; otherwise its seconds hold
            some of the host's.
    """

    device: float
    host: float
    queued: bool


@dataclass(frozen=True)
class StreamHandle:
    """A stream as other libraries take it: the CUDA stream protocol,
    https://nvidia.github.io/cuda-python/cuda-core/latest/interoperability.html#cuda-stream-protocol"""

    address: int

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.address


class Mark(Protocol):
    """A point of a stream."""

    def query(self) -> bool:
        """Whether the device has got there."""

    def synchronize(self) -> None:
        """Waits until it has."""


class Device(Protocol):
    """Where batches are made."""

    target: torch.device

    def generators(self) -> Sequence[torch.Generator]:
        """What torch's random numbers come from, here and on the host, when nothing else is said."""

    def working(self) -> AbstractContextManager[Any]:
        """Work inside goes to fastaug's own stream of the device."""

    def staging(self, shape: tuple[int, ...], memory: Pool) -> torch.Tensor:
        """uint8 host memory that ``upload`` copies from without a detour; ``memory`` may lend it."""

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        """A copy on the device, in the order of the current stream, while the host goes on."""

    def mark(self) -> Mark:
        """Marks this point of the current stream."""

    def receive(self, mark: Mark, tensors: Sequence[torch.Tensor]) -> None:
        """The current stream waits for the mark; the tensors may be used there and then dropped."""


class GpuDevice(Device, Protocol):
    """A device that launches kernels and that DALI can decode on."""

    decoding: tuple[str, int | None]  # DALI's decoder device and device number

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """Memory of unspecified content, given back in the order of the current stream."""

    def constant(self, host: torch.Tensor) -> torch.Tensor:
        """A copy on the device that is there when this returns, for use on any stream."""

    def gather(self, images: Sequence[torch.Tensor], rows: npt.NDArray[np.intp]) -> torch.Tensor:
        """Rows of several tensors joined, in this order and that of the current stream."""

    def load(self) -> None:
        """Compiles the kernels, or finds them compiled, before the first launch."""

    def launch(self, launch: Launch) -> None:
        """Starts a kernel on the current stream."""

    def timed(self, calls: Iterable[Callable[[], object]], pause: int) -> Timing:
        """What calls cost on the current stream, queued behind a pause of the device of ``pause`` clock
        cycles, so that its time has none of the host's gaps in it."""

    def run(self, pipe: Any, **inputs: Any) -> torch.Tensor:
        """The first output of a DALI pipeline, usable on the current stream."""


class Passed:
    """The mark of a device that has done everything when a call returns."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


class PlainDevice:
    """The CPU, or any torch device through torch's own operations."""

    def __init__(self, device: torch.device) -> None:
        self.target = device

    def generators(self) -> Sequence[torch.Generator]:
        if self.target.type != "cpu":
            raise ValueError(
                f"extra= runs on a CPU or a CUDA device, not on {self.target}, whose generators "
                "torch does not lend; call the module in the loop"
            )
        return (torch.default_generator,)

    def working(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def staging(self, shape: tuple[int, ...], memory: Pool) -> torch.Tensor:
        return torch.from_numpy(memory.take(shape, np.uint8))

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        return host.to(self.target)

    def mark(self) -> Mark:
        return Passed()

    def receive(self, mark: Mark, tensors: Sequence[torch.Tensor]) -> None:
        pass


def seconds_of(calls: Iterable[Callable[[], object]]) -> float:
    """How long the host is busy with calls."""
    begin = time.perf_counter()
    for call in calls:
        call()
    return time.perf_counter() - begin


class CudaDevice:
    """A CUDA device: memory and streams are torch's, modules and launches CuPy's."""

    def __init__(self, device: torch.device) -> None:
        index = own_gpu(torch.cuda.current_device()) if device.index is None else device.index
        self.target, self.decoding = torch.device("cuda", index), ("mixed", index)
        self._kernels: dict[str, Any] = {}
        self._streams: dict[int, Any] = {}  # CuPy's names for torch's streams
        self._stream = torch.cuda.Stream(self.target)

    def load(self) -> None:
        import cupy

        chip = cupy.cuda.runtime.driverGetVersion(), torch.cuda.get_device_capability(self.target)
        with cupy.cuda.Device(self.target.index):
            for file, names in nvrtc.cubins(*chip):
                module = cupy.RawModule(path=file)
                for name in names:
                    self._kernels[name] = module.get_function(name)
                    self._kernels[name].compile()  # loads it: CuPy would do so at the first launch

    def generators(self) -> Sequence[torch.Generator]:
        return torch.default_generator, torch.cuda.default_generators[self.target.index]

    def working(self) -> AbstractContextManager[Any]:
        return torch.cuda.stream(self._stream)

    def staging(self, shape: tuple[int, ...], memory: Pool) -> torch.Tensor:
        return torch.empty(shape, dtype=torch.uint8, pin_memory=True)

    def upload(self, host: torch.Tensor) -> torch.Tensor:
        return host.pin_memory().to(self.target, non_blocking=True)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self.target)

    def gather(self, images: Sequence[torch.Tensor], rows: npt.NDArray[np.intp]) -> torch.Tensor:
        return torch.cat(list(images))[self.upload(torch.from_numpy(rows))]

    def constant(self, host: torch.Tensor) -> torch.Tensor:
        return host.to(self.target)

    def launch(self, launch: Launch) -> None:
        import cupy

        handle = torch.cuda.current_stream(self.target).cuda_stream
        if handle not in self._streams:
            self._streams[handle] = cupy.cuda.Stream.from_external(StreamHandle(handle))
        with cupy.cuda.Device(self.target.index), self._streams[handle]:
            self._kernels[launch.kernel]((launch.grid,), (launch.block,), launch.arguments)

    def timed(self, calls: Iterable[Callable[[], object]], pause: int) -> Timing:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(pause)
        begin.record()
        host = seconds_of(calls)
        queued = not begin.query()
        end.record()
        end.synchronize()
        return Timing(begin.elapsed_time(end) / 1e3, host, queued)

    def run(self, pipe: Any, **inputs: Any) -> torch.Tensor:
        return torch.utils.dlpack.from_dlpack(
            pipe.run(torch.cuda.current_stream(self.target), **inputs)[0].as_tensor()
        )

    def mark(self) -> Any:
        return torch.cuda.current_stream(self.target).record_event()

    def receive(self, mark: Any, tensors: Sequence[torch.Tensor]) -> None:
        stream = torch.cuda.current_stream(self.target)
        stream.wait_event(mark)
        for tensor in tensors:
            tensor.record_stream(stream)


def make_device(wanted: torch.device | str | None) -> Device:
    """The device called ``wanted``; None: the GPU if there is one, else the CPU.

    "cuda" without a number is torch's current GPU, and under torchrun, where no other was made current, this
    process's own (LOCAL_RANK).

    Raises:
        ValueError: when torch has no such device.
    """
    device = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
    if device.type != "cuda":
        return PlainDevice(device)
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        have = f"{count} GPUs, numbered from 0" if count else "no GPU"
        raise ValueError(
            f"device={str(device)!r}: torch sees {have} (fastaug doctor says why); take "
            "another device, such as 'cpu'"
        )
    return CudaDevice(device)


def own_gpu(current: int) -> int:
    """The number of the GPU that "cuda" means: the current one, or LOCAL_RANK's where launchers set that,
    there are so many, and no other than the first was made current."""
    rank = os.environ.get("LOCAL_RANK", "0")
    there = rank.isdecimal() and int(rank) < torch.cuda.device_count()
    return current if current or not there else int(rank)
