"""``fastaug selftest``: does this machine make the right images, and how fast?

Every check is made against another implementation: the GPU's kernels against the CPU's (equal bit for
bit) and Kornia's, GPU decoding against CPU decoding, CPU decoding against Pillow. What decodes runs in
processes of its own, since a broken image must not take the test down with a decoder that crashes.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from . import doctor, nvrtc
from .augment import (
    Augmentation,
    CutMix,
    Cutout,
    GridMask,
    HideAndSeek,
    MixUp,
    Normalize,
    OneOf,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    Resize,
)
from .batch import Executor, make_executor
from .batch.output import Output
from .dali import load_dali
from .device import Device, GpuDevice, PlainDevice, make_device
from .draw import Planner
from .graphs import Decode, images_graph
from .loader import Loader
from .plan import BatchPlan
from .policies import AugMix, ColorJitter, GaussianBlur, RandAugment, RandomSolarize

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
ODD_SIZES = ((1, 1), (3, 5), (31, 33), (223, 225))
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Result:
    """One line of the table.

    Attributes:
        name: what ran.
        error: what it differed by, in words.
        passed: whether that is within what is promised; None: it did not run.
        rate: images a second, where it was measured.
        bandwidth: bytes moved a second as a share of a device copy's, where it was measured.
    """

    name: str
    error: str
    passed: bool | None
    rate: float | None = None
    bandwidth: float | None = None

    def __str__(self) -> str:
        state = {True: "ok", False: "FAILED", None: "not run"}[self.passed]
        rate = f"{self.rate:12,.0f}" if self.rate else f"{'':12}"
        share = f"{self.bandwidth:6.0%}" if self.bandwidth else f"{'':6}"
        return f"{state:8}{self.name:46}{rate} {share}  {self.error}"


def selftest(wanted: str | None = None) -> int:
    """Prints the table; returns 0 when nothing failed, else 1.

    Args:
        wanted: a device such as "cuda:0"; None: the GPU if there is one, else the CPU.
    """
    device = make_device(wanted)
    print("\n".join(doctor.report()), f"\nselftest on {device.target}\n", sep="\n")
    print(f"{'':8}{'what ran':46}{'images/s':>12} {'copy':>6}  difference")
    failed = 0
    for result in checks(device):
        print(result, flush=True)
        failed += result.passed is False
    print(f"\n{failed} failed" if failed else "\nnothing failed")
    return 1 if failed else 0


def checks(device: Device) -> Iterator[Result]:
    """All checks, one after another."""
    gpu = device.target.type == "cuda"
    yield compilation()
    if gpu:
        yield from kernels(cast(GpuDevice, device), ODD_SIZES, (224, 224), 256)
        yield from policies(cast(GpuDevice, device), ((5, 7), (31, 33), (223, 225)), (224, 224), 256)
    else:
        yield executors()
    yield from graphs()
    for place in ("cpu", "gpu", "gpu-roi"):
        if place == "cpu" or gpu:
            yield from decoding(place, str(device.target))
    yield ordering(device)
    if not gpu:
        for name in ("the CUDA kernels", "decoding on a GPU", "streams of a GPU"):
            yield Result(name, "no GPU that torch can use", None)


# ---- kernels ----


def augmentations(size: tuple[int, int], mixing: bool, masks: bool) -> list[Augmentation]:
    """A list that calls for one variant of the batch kernel."""
    side = max(size)
    out: list[Augmentation] = [Resize(size)]
    if masks:
        out += [GridMask((3, 3 + side), p=0.7), HideAndSeek((0, max(1, side // 8))),
                RandomErasing(value="random"), Cutout(max(1, side // 3))]
    if mixing:
        out += [OneOf([MixUp(0.4, per="sample"), CutMix(1.0, per="sample")], per="sample")]
    return out


def plan_of(augment: list[Augmentation], n: int, seed: int) -> BatchPlan:
    """A plan for n images that need no scaling."""
    planner, zeros = Planner(augment, None, seed), np.zeros(n, np.int64)
    tall, wide = (np.full(n, side, np.int64) for side in planner.size)
    return planner.plan(np.arange(n), zeros.astype("u4"), zeros > 0, zeros, tall, wide, epoch=0, step=seed)


def crops_of(n: int, size: tuple[int, int], seed: int) -> torch.Tensor:
    """Random pixels: uint8 ``[n, H, W, 3]``."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (n, *size, 3), np.uint8))


def kernels(device: GpuDevice, odd: tuple[tuple[int, int], ...], size: tuple[int, int], n: int,
            launches: int = 50) -> Iterator[Result]:  # fmt: skip
    """Every variant: bytes against the CPU's, at odd sizes too; then its rate at ``size``."""
    copied = copy_rate(device)
    yield Result("device copy", f"{copied / 1e9:,.0f} GB/s read and written", True, None, 1.0)
    for dtype, last in itertools.product(DTYPES, (False, True)):
        output = Output(dtype, last, Normalize())
        executor = make_executor("cuda", output, device, 1)
        native, kornia = make_executor(None, output, PlainDevice(CPU), 1), make_executor(
            "kornia", output, PlainDevice(CPU), 1)
        for mixing, masks in itertools.product((False, True), repeat=2):
            unequal = worst = 0.0
            for seed, shape in enumerate((*odd, size)):
                plan, crops = plan_of(augmentations(shape, mixing, masks), 5, seed), crops_of(5, shape, seed)
                got = carried_out(device, executor, plan, crops)
                unequal += float((got != native.run(plan, crops)).sum())
                worst = max(worst, float((got.float() - kornia.run(plan, crops).float()).abs().max()))
            plan = plan_of(augmentations(size, mixing, masks), n, 9)
            seconds = seconds_of(device, executor, plan, launches)
            images_bytes = n * size[0] * size[1] * 3
            mixed = float((plan["mix"] == 1).mean()) if mixing else 0.0
            moved = images_bytes * (1 + mixed + dtype.itemsize)
            rounding = torch.finfo(dtype).eps * 4 + 2e-6
            name = (f"{str(dtype).removeprefix('torch.')} {'channels-last' if last else 'NCHW'}"
                    f"{', mixing' if mixing else ''}{', masks' if masks else ''}")
            yield Result(name, f"{unequal:.0f} values differ from the CPU's; {worst:.1e} from Kornia's",
                         unequal == 0 and worst <= rounding, n / seconds, moved / seconds / copied)
        for e in (executor, native, kornia):
            e.close()


POLICIES: dict[str, list[Augmentation]] = {
    "RandAugment": [RandAugment(2, 20)],
    "AugMix": [AugMix()],
    "ColorJitter, blur, solarize": [ColorJitter(0.4, 0.4, 0.4, 0.1), GaussianBlur(5), RandomSolarize(128)],
}


def policies(device: GpuDevice, odd: tuple[tuple[int, int], ...], size: tuple[int, int], n: int,
             launches: int = 10) -> Iterator[Result]:  # fmt: skip
    """Policies' bytes against the CPU's; then their rate at ``size``, the batch kernel included."""
    output = Output(torch.uint8, False, None)
    executor = make_executor("cuda", output, device, 1)
    native = make_executor(None, output, PlainDevice(CPU), 1)
    for name, ops in POLICIES.items():
        unequal = 0
        for seed, shape in enumerate((*odd, size)):
            plan, crops = plan_of([Resize(shape), *ops], 5, seed), crops_of(5, shape, seed)
            got = carried_out(device, executor, plan, crops)
            unequal += int((got != native.run(plan, crops)).sum())
        seconds = seconds_of(device, executor, plan_of([Resize(size), *ops], n, 9), launches)
        yield Result(name, f"{unequal} values differ from the CPU's", unequal == 0, n / seconds)
    executor.close()
    native.close()


def carried_out(device: GpuDevice, executor: Executor, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
    """A plan's images, made on the device and brought back."""
    with device.working():
        images = executor.run(plan, device.upload(crops))
        device.mark().synchronize()
        return images.cpu()


def seconds_of(device: GpuDevice, executor: Executor, plan: BatchPlan, launches: int) -> float:
    """Median seconds that a plan takes on the device, on pixels that are there already."""
    with device.working():
        pixels = device.upload(crops_of(len(plan), plan.size, 9))
        return timed(device, lambda: executor.run(plan, pixels), launches)


def timed(device: GpuDevice, work: Callable[[], object], count: int) -> float:
    """Median seconds of a call, over five runs of ``count`` calls each."""
    runs = []
    for _ in range(6):  # the first warms up
        device.mark().synchronize()
        begin = time.perf_counter()
        for _ in range(count):
            work()
        device.mark().synchronize()
        runs.append((time.perf_counter() - begin) / count)
    return float(np.median(runs[1:]))


def copy_rate(device: GpuDevice, nbytes: int = 1 << 28) -> float:
    """Bytes a second that a device-to-device copy reads and writes together."""
    with device.working():
        a, b = (device.empty((nbytes,), torch.uint8) for _ in range(2))
        return 2 * nbytes / timed(device, lambda: b.copy_(a), 20)


def executors() -> Result:
    """Without a GPU: the CPU's kernels against Kornia."""
    worst = 0.0
    for seed, shape in enumerate(ODD_SIZES):
        output = Output(torch.float32, False, Normalize())
        plan, crops = plan_of(augmentations(shape, True, True), 5, seed), crops_of(5, shape, seed)
        a, b = (make_executor(name, output, PlainDevice(CPU), 1) for name in (None, "kornia"))
        worst = max(worst, float((a.run(plan, crops) - b.run(plan, crops)).abs().max()))
        name = a.name
        a.close()
    return Result(f"CPU executor ({name})", f"{worst:.1e} from Kornia's", worst <= 2e-6)


def compilation() -> Result:
    """The CUDA kernels with the newest NVRTC that is here."""
    if not nvrtc.installed():
        return Result("compiling the CUDA kernels", "no NVRTC is installed", None)
    lib = nvrtc.installed()[0]
    code = b"".join(lib.compile(*nvrtc.source(program), 90) for program in nvrtc.PROGRAMS)
    return Result(f"compiling the CUDA kernels (NVRTC {lib.version[0]}.{lib.version[1]}, sm_90)",
                  f"{len(code) >> 10} KiB of machine code", True)


# ---- decoding ----


def graphs() -> Iterator[Result]:
    """The GPU's DALI graphs, built and serialised."""
    for place in ("gpu", "gpu-roi"):
        try:
            pipe = images_graph(Decode(place), ("mixed", None), files=True, batch_size=8, threads=1,
                                size=(224, 224), interpolation="bilinear")
            yield Result(f"DALI graph {place}", f"{len(pipe.serialize())} bytes serialised", True)
        except ImportError:
            yield Result(f"DALI graph {place}", "DALI is not installed", None)
        except RuntimeError as error:
            yield Result(f"DALI graph {place}", str(error).splitlines()[0], False)


def decoding(place: str, device: str) -> Iterator[Result]:
    """Decodes in a process of its own; a crash is a failed line."""
    names = (f"decoding, {place}: against {'Pillow' if place == 'cpu' else 'the CPU'}",
             f"decoding, {place}: goes on after a bad file")
    try:
        load_dali()
    except ImportError:
        yield from (Result(name, "DALI is not installed", None) for name in names)
        return
    done = subprocess.run([sys.executable, "-m", "fastaug.selftest", place, device],
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        for name in names:
            yield Result(name, f"its process ended with {done.returncode}: {last[:150]}", False)
        return
    yield Result(names[0], f"mean {found['mean']:.2f}, most {found['most']} of 255 inside the border",
                 found["mean"] < (0.3 if place == "cpu" else 2.0), found["rate"])
    yield Result(names[1], f"named {found['bad']}; {found['delivered']} of {found['good']} delivered",
                 found["named"] and found["delivered"] == found["good"])


def photographs(folder: Path, count: int = 48) -> None:
    """Smooth coloured noise as JPEGs of about 500 x 375 pixels."""
    rng = np.random.default_rng(0)
    (folder / "a").mkdir()
    for k in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
        image = coarse.resize((480 + k, 360 + k), Image.Resampling.BICUBIC)
        image.save(folder / "a" / f"{k:02}.jpg", quality=92)


def decode_here(place: str, device: str) -> dict[str, Any]:
    """What ``decoding`` reports: pixels against another decoder, then a bad file among good ones."""
    augment = [RandomResizedCrop(224), RandomHorizontalFlip()]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        photographs(folder)
        common: dict[str, Any] = dict(batch_size=16, augment=augment, dtype=torch.uint8, with_plan=True)
        mean, most, count, begin = 0.0, 0, 0, time.perf_counter()
        loader = Loader(name, device=device, decode=place, **common)
        with loader, Loader(name, device="cpu", **common) as cpu:
            for images, _, plan in loader:
                other = pillow_images(folder, plan) if place == "cpu" else cpu.replay(plan)[0]
                difference = (images.cpu().int() - other.int()).abs()[:, :, 2:-2, 2:-2]
                mean = max(mean, float(difference.float().mean()))
                most, count = max(most, int(difference.max())), count + len(images)
            epochs = 5
            begin = time.perf_counter()
            for _ in range(epochs):
                for _ in loader:
                    pass
            rate = epochs * count / (time.perf_counter() - begin)
        good = len(list(folder.glob("a/*.jpg")))
        data = (folder / "a" / "00.jpg").read_bytes()
        broken = folder / "a" / "05broken.jpg"
        broken.write_bytes(data[: data.index(b"\xff\xda") + 4])
        with Loader(name, device=device, decode=place, on_error="skip", max_bad=None, **common) as loader:
            delivered = sum(len(images) for images, _, _ in loader)
            bad = list(loader.bad_files)
    return {"mean": mean, "most": most, "rate": rate, "good": good, "delivered": delivered,
            "bad": [Path(b.strip("'")).name for b in bad], "named": bad == [repr(str(broken))]}


def pillow_images(folder: Path, plan: BatchPlan) -> torch.Tensor:
    """A plan's crops by Pillow: uint8 ``[B, 3, H, W]``."""
    files, out = sorted(folder.glob("a/*.jpg")), []
    for row in plan.rows:
        y, x, h, w = (int(row[name]) for name in ("y0", "x0", "h", "w"))
        image = Image.open(files[int(row["index"])]).convert("RGB").crop((x, y, x + w, y + h))
        image = image.resize(plan.size[::-1], Image.Resampling.BILINEAR)
        out.append(np.asarray(image)[:, ::-1] if row["flip"] else np.asarray(image))
    return torch.from_numpy(np.stack(out)).permute(0, 3, 1, 2)


# ---- ordering ----


def ordering(device: Device, batches: int = 24, side: int = 1024) -> Result:
    """A training loop that keeps the device busy and drops each batch at once: the bytes stay right."""
    arrays = crops_of(batches * 16, (64, 64), 1).numpy(), np.arange(batches * 16) % 10
    common: dict[str, Any] = dict(batch_size=16, shuffle=True, num_classes=10, prefetch_factor=3, seed=7,
                                  augment=[RandomResizedCrop(48), GridMask((8, 20)), MixUp(0.4), Normalize()])
    with Loader(arrays, device="cpu", **common) as cpu:
        expected = [(images.clone(), targets) for images, targets in cpu]
    weights, wrong = torch.ones((side, side), device=device.target), 0
    with Loader(arrays, device=device.target, **common) as loader:
        copies = []
        for images, targets in loader:
            for _ in range(4):  # work that the copies below have to queue behind
                weights = (weights @ weights).clamp(max=1)
            copies.append((images.clone(), targets.clone()))
            del images, targets
        for got, want in zip(copies, expected, strict=True):
            wrong += sum(not torch.equal(a.cpu(), b) for a, b in zip(got, want, strict=True))
    return Result("batches under load", f"{wrong} of {2 * batches} tensors differ", wrong == 0)


if __name__ == "__main__":
    print(json.dumps(decode_here(sys.argv[1], sys.argv[2])))
