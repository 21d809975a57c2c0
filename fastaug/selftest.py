"""``fastaug selftest``: does this machine make the right images, and how fast?

Every check is made against another implementation: the GPU's kernels against the CPU's (equal bit for
bit) and Kornia's, GPU decoding against CPU decoding, CPU decoding against Pillow. What is not installed is
left out and said. What decodes runs in processes of its own, since a broken image must not take the test
down with a decoder that crashes. Rates are the GPU's own; the host's time to start a batch stands apart.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from . import doctor, nvrtc
from .augment import Augmentation, GridMask, MixUp, Normalize, RandomHorizontalFlip, RandomResizedCrop, Resize
from .batch import Executor, make_executor
from .batch.native import library
from .batch.output import Output
from .dali import load_dali
from .device import Device, GpuDevice, PlainDevice, make_device
from .graphs import Decode, images_graph
from .loader import Loader
from .measure import augmentations, copy_rate, crops_of, pixels_on, plan_of, timing_of
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
        host: seconds that the host needs to start a batch, where they were measured.
    """

    name: str
    error: str
    passed: bool | None
    rate: float | None = None
    bandwidth: float | None = None
    host: float | None = None

    def __str__(self) -> str:
        state = {True: "ok", False: "FAILED", None: "not run"}[self.passed]
        rate = f"{self.rate:12,.0f}" if self.rate else f"{'':12}"
        share = f"{self.bandwidth:6.0%}" if self.bandwidth else f"{'':6}"
        host = f"{self.host * 1e6:7,.0f}" if self.host else f"{'':7}"
        return f"{state:8}{self.name:46}{rate} {share} {host}  {self.error}"


def selftest(wanted: str | None = None) -> int:
    """Prints the table; returns 0 when nothing failed, else 1.

    Args:
        wanted: a device such as "cuda:0"; None: the GPU if there is one, else the CPU.
    """
    device = make_device(wanted)
    print("\n".join(doctor.report()), f"\nselftest on {device.target}\n", sep="\n")
    print(f"{'':8}{'what ran':46}{'images/s':>12} {'copy':>6} {'host µs':>7}  difference")
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
    yield graph()
    for place in ("cpu", "gpu"):
        if place == "cpu" or gpu:
            yield from decoding(place, str(device.target))
    if gpu or references(Output(torch.float32, False, None)):
        yield ordering(device)
    if not gpu:
        for name in ("the CUDA kernels", "decoding on a GPU", "streams of a GPU"):
            yield Result(name, "no GPU that torch can use", None)


# ---- kernels ----


def references(output: Output) -> dict[str, Executor]:
    """What the GPU's images are compared with: of the CPU's kernels and Kornia, what is here."""
    here = {"native": library() is not None, "kornia": find_spec("kornia") is not None}
    return {name: make_executor(name, output, PlainDevice(CPU), 1) for name, there in here.items() if there}


def compared(
    device: GpuDevice,
    executor: Executor,
    others: dict[str, Executor],
    cases: Iterable[tuple[BatchPlan, torch.Tensor]],
    rounding: float,
) -> tuple[str, bool | None]:
    """What plans' images differ by from those of the others, in words, and whether that is as promised."""
    unequal, worst = 0, 0.0
    for plan, crops in cases:
        got = carried_out(device, executor, plan, crops)
        if "native" in others:
            unequal += int((got != others["native"].run(plan, crops.clone())).sum())
        if "kornia" in others:
            apart = got.float() - others["kornia"].run(plan, crops.clone()).float()
            worst = max(worst, float(apart.abs().max()))
    words = {"native": f"{unequal} values differ from the CPU's", "kornia": f"{worst:.1e} from Kornia's"}
    if not others:
        return "nothing is here to compare with: no compiled kernels, no Kornia", None
    return "; ".join(words[name] for name in others), unequal == 0 and worst <= rounding


def kernels(
    device: GpuDevice, odd: tuple[tuple[int, int], ...], size: tuple[int, int], n: int, launches: int = 50
) -> Iterator[Result]:
    """Every variant: bytes against the CPU's, at odd sizes too; then its rate at ``size``."""
    copied, pixels = copy_rate(device), pixels_on(device, n, size)
    yield Result("device copy", f"{copied / 1e9:,.0f} GB/s read and written", True, None, 1.0)
    for dtype, last in itertools.product(DTYPES, (False, True)):
        output = Output(dtype, last, Normalize())
        executor, others = make_executor("cuda", output, device, 1), references(output)
        for mixing, masks in itertools.product((False, True), repeat=2):
            cases = (
                (plan_of(augmentations(shape, mixing, masks), 5, seed), crops_of(5, shape, seed))
                for seed, shape in enumerate((*odd, size))
            )
            error, passed = compared(device, executor, others, cases, torch.finfo(dtype).eps * 4 + 2e-6)
            plan = plan_of(augmentations(size, mixing, masks), n, 9)
            timing = timing_of(device, executor, plan, pixels, launches)
            mixed = float((plan["mix"] == 1).mean()) if mixing else 0.0
            moved = n * size[0] * size[1] * 3 * (1 + mixed + dtype.itemsize)
            name = (
                f"{str(dtype).removeprefix('torch.')} {'channels-last' if last else 'NCHW'}"
                f"{', mixing' if mixing else ''}{', masks' if masks else ''}"
            )
            yield Result(name, error, passed, n / timing.device, moved / timing.device / copied, timing.host)
        for e in (executor, *others.values()):
            e.close()


POLICIES: dict[str, list[Augmentation]] = {
    "RandAugment": [RandAugment(2, 20)],
    "AugMix": [AugMix()],
    "ColorJitter, blur, solarize": [ColorJitter(0.4, 0.4, 0.4, 0.1), GaussianBlur(5), RandomSolarize(128)],
}


def policies(
    device: GpuDevice, odd: tuple[tuple[int, int], ...], size: tuple[int, int], n: int, launches: int = 10
) -> Iterator[Result]:
    """Policies' bytes against the CPU's; then their rate at ``size``, the batch kernel included."""
    output = Output(torch.uint8, False, None)
    executor, others = make_executor("cuda", output, device, 1), references(output)
    others.pop("kornia", None)  # torchvision's geometry may take the other of two pixels at a tie
    pixels = pixels_on(device, n, size)
    for name, ops in POLICIES.items():
        cases = (
            (plan_of([Resize(shape), *ops], 5, seed), crops_of(5, shape, seed))
            for seed, shape in enumerate((*odd, size))
        )
        error, passed = compared(device, executor, others, cases, 0)
        timing = timing_of(device, executor, plan_of([Resize(size), *ops], n, 9), pixels, launches)
        yield Result(name, error, passed, n / timing.device, host=timing.host)
    for e in (executor, *others.values()):
        e.close()


def carried_out(device: GpuDevice, executor: Executor, plan: BatchPlan, crops: torch.Tensor) -> torch.Tensor:
    """A plan's images, made on the device and brought back."""
    with device.working():
        images = executor.run(plan, device.upload(crops))
        device.mark().synchronize()
        return images.cpu()


def executors() -> Result:
    """Without a GPU: the CPU's kernels against Kornia."""
    worst, output = 0.0, Output(torch.float32, False, Normalize())
    here = references(output)
    for seed, shape in enumerate(ODD_SIZES):
        plan, crops = plan_of(augmentations(shape, True, True), 5, seed), crops_of(5, shape, seed)
        images = [e.run(plan, crops.clone()) for e in here.values()]
        worst = max(worst, float((images[0] - images[-1]).abs().max()) if images else 0.0)
    for e in here.values():
        e.close()
    if len(here) < 2:
        missing = "Kornia is not installed" if "native" in here else "they are not compiled"
        return Result("the CPU's kernels", missing, None)
    return Result("the CPU's kernels", f"{worst:.1e} from Kornia's", worst <= 2e-6)


def compilation() -> Result:
    """The CUDA kernels with the newest NVRTC that is here."""
    if not nvrtc.installed():
        return Result("compiling the CUDA kernels", "no NVRTC is installed", None)
    lib = nvrtc.installed()[0]
    code = b"".join(lib.compile(*nvrtc.source(program), 90) for program in nvrtc.PROGRAMS)
    return Result(
        f"compiling the CUDA kernels (NVRTC {lib.version[0]}.{lib.version[1]}, sm_90)",
        f"{len(code) >> 10} KiB of machine code",
        True,
    )


# ---- decoding ----


def graph() -> Result:
    """The GPU's DALI graph, built and serialised."""
    name = "DALI graph for the GPU"
    try:
        pipe = images_graph(
            Decode("gpu"),
            ("mixed", None),
            files=True,
            batch_size=8,
            threads=1,
            size=(224, 224),
            interpolation="bilinear",
        )
        return Result(name, f"{len(pipe.serialize())} bytes serialised", True)
    except ImportError:
        return Result(name, "DALI is not installed", None)
    except RuntimeError as error:
        return Result(name, str(error).splitlines()[0], False)


def decoding(place: str, device: str) -> Iterator[Result]:
    """Decodes in a process of its own; a crash is a failed line."""
    names = (
        f"decoding, {place}: against {'Pillow' if place == 'cpu' else 'the CPU'}",
        f"decoding, {place}: goes on after a bad file",
    )
    try:
        load_dali()
    except ImportError:
        yield from (Result(name, "DALI is not installed", None) for name in names)
        return
    done = subprocess.run(
        [sys.executable, "-m", "fastaug.selftest", place, device], capture_output=True, text=True, timeout=600
    )
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        for name in names:
            yield Result(name, f"its process ended with {done.returncode}: {last[:150]}", False)
        return
    yield Result(
        names[0],
        f"mean {found['mean']:.2f}, most {found['most']} of 255 inside the border",
        found["mean"] < (0.3 if place == "cpu" else 2.0),
        found["rate"],
    )
    yield Result(
        names[1],
        f"named {found['bad']}; {found['delivered']} of {found['good']} delivered",
        found["named"] and found["delivered"] == found["good"],
    )


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
    return {
        "mean": mean,
        "most": most,
        "rate": rate,
        "good": good,
        "delivered": delivered,
        "bad": [Path(b.strip("'")).name for b in bad],
        "named": bad == [repr(str(broken))],
    }


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
    common: dict[str, Any] = dict(
        batch_size=16,
        shuffle=True,
        num_classes=10,
        prefetch_factor=3,
        seed=7,
        augment=[RandomResizedCrop(48), GridMask((8, 20)), MixUp(0.4), Normalize()],
    )
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
