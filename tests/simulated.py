"""A GPU on the host: streams that run late and in any order, memory that is reused at once.

``SimulatedDevice`` stands in for ``fastaug.device.CudaDevice``. Copies and launches are queued on
streams and carried out later, at random moments, in any order that streams and waits allow. Memory is
spoilt as soon as its owner may use it again: torch's in the order of the stream it was made on and of
the streams it was recorded on, DALI's at once. A missing wait, or memory that is dropped too early,
therefore shows as wrong bytes. Kernels are batch.cu's own, compiled for the host.
"""

from __future__ import annotations

import random
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager

import numpy as np
import torch

from fastaug.machine.device import Launch, Timing, seconds_of
from fastaug.ops.holes import HOLE
from fastaug.plan.row import ROW

from . import cuda_host

_SPOILT = 0xEE
_STORAGE = {
    torch.float32: np.float32,
    torch.float16: np.uint16,
    torch.bfloat16: np.uint16,
    torch.uint8: np.uint8,
    torch.int64: np.int64,
}


class Stream:
    """Operations in order. An operation is (ready, action)."""

    def __init__(self, name: str) -> None:
        self.name, self.queue, self.done, self.put = name, deque(), 0, 0

    def add(self, action, ready=lambda: True) -> None:
        self.queue.append((ready, action))
        self.put += 1


class Mark:
    """A point of a stream."""

    def __init__(self, stream: Stream, device: SimulatedDevice) -> None:
        self.stream, self.place, self.device = stream, stream.put, device

    def query(self) -> bool:
        return self.stream.done >= self.place

    def synchronize(self) -> None:
        while not self.query():
            assert self.device._step(), "streams wait for each other"


class Block:
    """Device memory, and the streams that may use it."""

    def __init__(self, nbytes: int, stream: Stream) -> None:
        self.raw = np.full(nbytes + 256, _SPOILT, np.uint8)
        start = -self.raw.ctypes.data % 256
        self.bytes = self.raw[start : start + nbytes]
        self.stream, self.users = stream, set()


class SimulatedDevice:
    target = torch.device("cuda", 0)
    decoding = ("cpu", None)

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._local = threading.local()
        self._work = Stream("work")
        self._streams = [self._work]
        self._blocks: dict[int, Block] = {}
        self._staging: dict[int, np.ndarray] = {}
        self.launches: list[Launch] = []
        self.spoilt = 0
        self.loaded = False

    # ---- what torch.cuda offers its users ----

    def current(self) -> Stream:
        stack = getattr(self._local, "stack", None)
        if not stack:
            stack = self._local.stack = [Stream(f"default of {threading.current_thread().name}")]
            self._streams.append(stack[0])
        return stack[-1]

    @contextmanager
    def on(self, stream: Stream):
        self.current()
        if stream not in self._streams:
            self._streams.append(stream)
        self._local.stack.append(stream)
        try:
            yield
        finally:
            self._local.stack.pop()

    def read(self, tensor: torch.Tensor) -> np.ndarray:
        """Starts a copy to the host on the current stream; its bytes are there after synchronize()."""
        block, out = self._block(tensor), np.zeros(tensor.numel() * tensor.element_size(), np.uint8)
        self._add(lambda: np.copyto(out, block.bytes[: len(out)]))
        return out

    def synchronize(self) -> None:
        with self._lock:
            while any(stream.queue for stream in self._streams):
                assert self._step(), "streams wait for each other"

    # ---- the interface of fastaug.device.GpuDevice ----

    def load(self) -> None:
        cuda_host.library()
        self.loaded = True

    def generators(self):
        return (torch.default_generator,)

    def working(self):
        return self.on(self._work)

    def staging(self, shape, memory):
        array = np.full(shape, _SPOILT, np.uint8)
        self._staging[array.ctypes.data] = array
        return torch.from_numpy(array)

    def upload(self, host):
        if host.data_ptr() not in self._staging:
            host = host.clone()  # what pin_memory does
        out = self.empty(tuple(host.shape), host.dtype)
        block, source = self._block(out), host.contiguous().view(torch.uint8).numpy().reshape(-1)
        self._add(lambda: np.copyto(block.bytes, source))
        return out

    def empty(self, shape, dtype):
        nbytes = int(np.prod(shape)) * dtype.itemsize
        block = Block(nbytes, self.current())
        self._blocks[block.bytes.ctypes.data] = block
        lent = block.bytes.view(_STORAGE[dtype]).reshape(shape)
        weakref.finalize(lent, self._free, block).atexit = False
        tensor = torch.from_numpy(lent)
        return tensor if tensor.dtype == dtype else tensor.view(dtype)

    def gather(self, images, rows):
        sources = [self._block(image).bytes.reshape(len(image), -1) for image in images]
        out = self.empty((len(rows), *images[0].shape[1:]), images[0].dtype)
        block = self._block(out)
        self._add(lambda: np.copyto(block.bytes, np.concatenate(sources)[rows].reshape(-1)))
        return out

    def constant(self, host):
        out = self.empty(tuple(host.shape), host.dtype)
        out.copy_(host)
        return out

    def launch(self, launch):
        """Checks what a kernel cannot: types, alignment, and that the memory is ours and long enough."""
        assert self.loaded, "launched before the kernels were loaded"
        if launch.kernel.startswith("policy"):
            for argument in launch.arguments:
                assert argument.dtype != np.uint64 or self._holds(int(argument))
            self.launches.append(launch)
            self._add(lambda: cuda_host.launch_here(launch))
            return
        types = [a.dtype.str for a in launch.arguments]
        assert types == ["<u8"] * 7 + ["<f4"] * 6 + ["<i4"] * 3, types
        height, width, blocks = (int(a) for a in launch.arguments[-3:])
        n, rest = divmod(launch.grid, blocks)
        assert not rest
        size = {"float32": 4, "uint8": 1}.get(launch.kernel.split("_")[1], 2)
        crops, rows, holes, masks, table, out = (int(a) for a in launch.arguments[:6])
        lengths = {
            crops: n * height * width * 3,
            rows: n * ROW.itemsize,
            table: 4096 * 4,
            out: n * height * width * 3 * size,
        }
        end = rows + len(self._blocks[rows].bytes)
        assert rows + n * ROW.itemsize == holes <= masks <= end
        assert (masks - holes) % HOLE.itemsize == 0
        assert (end - masks) % (height * -(-width // 8)) == 0
        for address, length in lengths.items():
            block = self._blocks[address]
            assert len(block.bytes) >= length, (launch, length)
            assert address % 256 == 0
        self.launches.append(launch)
        self._add(lambda: cuda_host.launch_here(launch))

    def timed(self, calls, pause):
        begin = time.perf_counter()
        host = seconds_of(calls)
        self.synchronize()
        return Timing(time.perf_counter() - begin, host, True)

    def run(self, pipe, **inputs):
        decoded = torch.utils.dlpack.from_dlpack(pipe.run(**inputs)[0].as_tensor()).numpy()
        block = Block(decoded.nbytes, self.current())
        self._blocks[block.bytes.ctypes.data] = block
        lent = block.bytes.reshape(decoded.shape)
        weakref.finalize(lent, self._spoil, block).atexit = False  # DALI's, not torch's: at once
        self._add(lambda: np.copyto(block.bytes, decoded.reshape(-1)))
        return torch.from_numpy(lent)

    def mark(self):
        return Mark(self.current(), self)

    def receive(self, mark, tensors):
        self._add(lambda: None, mark.query)
        for tensor in tensors:
            self._block(tensor).users.add(self.current())

    # ---- time goes by ----

    def _block(self, tensor) -> Block:
        return self._blocks[tensor.data_ptr()]

    def _holds(self, address: int) -> bool:
        """Whether an address, aligned for words, lies in the device's memory."""
        return address % 4 == 0 and any(
            0 <= address - start < max(1, len(block.bytes)) for start, block in self._blocks.items()
        )

    def _add(self, action, ready=lambda: True) -> None:
        with self._lock:
            self.current().add(action, ready)
            while self._random.random() < 0.6 and self._step():
                pass

    def _step(self) -> bool:
        """Carries out one operation that may be carried out now."""
        ready = [s for s in self._streams if s.queue and s.queue[0][0]()]
        if not ready:
            return False
        stream = self._random.choice(ready)
        stream.queue.popleft()[1]()
        stream.done += 1
        return True

    def _free(self, block: Block) -> None:
        """As torch's allocator: in the order of the block's stream, and after those it is recorded on."""
        with self._lock:
            for user in block.users:
                block.stream.add(lambda: None, Mark(user, self).query)
            block.stream.add(lambda: self._spoil(block))

    def _spoil(self, block: Block) -> None:
        block.bytes[:] = _SPOILT
        self.spoilt += 1
