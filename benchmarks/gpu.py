"""What a GPU does with batches in memory: every batch kernel and policy beside a device copy, torchvision v2
and Kornia; then JPEGs, the loader and a short training.

Run: python benchmarks/gpu.py PART [--json FILE]; PART is kernels, policies, stage, jpeg, loader or train.
Needs torch and CuPy; a peer that is not installed is left out. Without a GPU it says so and ends with status
3. `make gpu` runs all of them, with the tests of the kernels, and keeps a record.

Device times are between two events, of launches queued behind a pause; inputs and outputs go round through
more memory than the GPU's cache holds. Host times are Python's, apart. Peers, which start too many kernels to
be queued, are timed by the wall clock until the GPU has done, and so is fastaug beside them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from measure import augmentations, copy_rate, pixels_on, plan_of, timed, timing_of
from policy import PAIRS
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg
from torchvision.transforms import v2

import fastaug as fa
from fastaug.execute import make_executor
from fastaug.execute.cuda import describe, tables_of
from fastaug.execute.output import NOISE, Output
from fastaug.machine.device import GpuDevice, make_device

Row = dict[str, Any]  # a line of a table: what was measured, and its figures
NO_GPU = 3  # the exit status without one
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)


def kernels(device: GpuDevice, n: int = 256, side: int = 224) -> Iterator[Row]:
    """Every variant of the batch kernel, the launch alone; then a whole run() with its uploads."""
    size = (side, side)
    copied, pixels = copy_rate(device), pixels_on(device, n, size)
    yield {"what": "device copy", "GB/s": copied / 1e9}
    noise = device.constant(torch.from_numpy(NOISE))
    for dtype, last, mixing, masks in itertools.product(DTYPES, (False, True), (False, True), (False, True)):
        output = Output(dtype, last, None if dtype == torch.uint8 else fa.Normalize())
        plan = plan_of(augmentations(size, mixing, masks), n, 9)
        executor = make_executor("cuda", output, device, 1)
        with device.working():
            tables = device.upload(tables_of(plan))
            outputs = [device.empty((n, 3, *size), dtype) for _ in pixels]
        launches = [
            describe(output, plan, *(t.data_ptr() for t in (p, tables, noise, o)))
            for p, o in zip(pixels, outputs, strict=True)
        ]
        bare = timed(device, [partial(device.launch, launch) for launch in launches], 50)
        whole = timing_of(device, executor, plan, pixels, 20)
        moved = n * side * side * 3 * (1 + dtype.itemsize + float((plan["mix"] == 1).mean()))
        yield {
            "what": launches[0].kernel,
            "device µs": bare.device * 1e6,
            "GB/s": moved / bare.device / 1e9,
            "of copy": moved / bare.device / copied,
            "run() device µs": whole.device * 1e6,
            "run() host µs": whole.host * 1e6,
        }
        executor.close()


def policies(device: GpuDevice, n: int = 64, side: int = 224, rounds: int = 5) -> Iterator[Row]:
    """Every policy and color operation, uint8 in and out; beside torchvision v2 and Kornia by image."""
    executor = make_executor("cuda", Output(torch.uint8, False, None), device, 1)
    pixels = pixels_on(device, n, (side, side))
    images = pixels[0].permute(0, 3, 1, 2).contiguous()
    for name, (ours, theirs) in PAIRS.items():
        plan = plan_of([fa.Resize((side, side)), ours], n, 0)
        timing = timing_of(device, executor, plan, pixels, 10)
        jobs: dict[str, Callable[[], object]] = {
            "fastaug": partial(executor.run, plan, pixels[0]),
            "torchvision v2": lambda theirs=theirs: [theirs(image) for image in images],  # type: ignore[misc]
        }
        if find_spec("kornia") and name in ("RandAugment", "TrivialAugmentWide", "AutoAugment"):
            jobs["kornia"] = kornia_policy(name, images)
        yield {
            "what": name,
            "device µs": timing.device * 1e6,
            "host µs": timing.host * 1e6,
            **{f"{who} ms": ms for who, ms in wall(device, jobs, rounds).items()},
        }
    executor.close()


def kornia_policy(name: str, images: torch.Tensor) -> Callable[[], object]:
    """Kornia's policy of the same name, which draws for each image of a batch of floats."""
    import kornia.augmentation.auto as auto

    operation = {
        "RandAugment": lambda: auto.RandAugment(2, 9),
        "TrivialAugmentWide": auto.TrivialAugment,
        "AutoAugment": auto.AutoAugment,
    }[name]()
    floats = images.float() / 255
    return lambda: [operation(image[None]) for image in floats]


def stage(device: GpuDevice, n: int = 256, side: int = 224, rounds: int = 10) -> Iterator[Row]:
    """Normalize, RandomErasing and mixing of a batch: fastaug, torchvision v2, Kornia."""
    pixels = pixels_on(device, n, (side, side))[0]
    images, labels = pixels.permute(0, 3, 1, 2).contiguous(), torch.arange(n, device=pixels.device)
    mean, std = fa.IMAGENET_MEAN, fa.IMAGENET_STD
    normalize = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    executor = make_executor("cuda", Output(torch.float32, False, fa.Normalize()), device, 1)
    erase = v2.RandomErasing()
    for name in ("MixUp", "CutMix"):
        plan = plan_of([fa.Resize((side, side)), fa.RandomErasing(), getattr(fa, name)(1.0)], n, 0)
        mix = getattr(v2, name)(num_classes=n, alpha=1.0)
        jobs: dict[str, Callable[[], object]] = {
            "fastaug": partial(executor.run, plan, pixels),
            "torchvision v2": lambda mix=mix: mix(  # type: ignore[misc]
                torch.stack([erase(image) for image in normalize(images)]), labels
            ),
            "torchvision v2, one erasing a batch": lambda mix=mix: mix(  # type: ignore[misc]
                erase(normalize(images)), labels
            ),
        }
        if find_spec("kornia"):
            import kornia.augmentation as K

            before = K.AugmentationSequential(
                K.Normalize(torch.tensor(mean), torch.tensor(std)), K.RandomErasing(p=0.5)
            ).to(pixels.device)
            after = getattr(K, f"Random{name}V2")(p=1.0, data_keys=["input", "class"])
            jobs["kornia"] = lambda before=before, after=after: after(  # type: ignore[misc]
                before(images.float() / 255), labels
            )
        times = wall(device, jobs, rounds)
        yield {"what": f"{name}, {n} x {side}²", **{f"{who} ms": ms for who, ms in times.items()}}
    executor.close()


def wall(device: GpuDevice, jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each job until the device has done it, run in turns."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            device.mark().synchronize()
            begin = time.perf_counter()
            job()
            device.mark().synchronize()
            times[name].append(time.perf_counter() - begin)
    return {name: float(np.median(seconds[1:])) * 1e3 for name, seconds in times.items()}


# ---- JPEGs, the loader, a training ----


def photographs(count: int = 64, height: int = 375, width: int = 500) -> list[torch.Tensor]:
    """Colored noise of several octaves as JPEGs of a photograph's weight, about 100 KB: uint8 ``[bytes]``."""
    made, generator = [], torch.Generator().manual_seed(0)
    for _ in range(count):
        image = torch.zeros(1, 3, height, width)
        for octave in range(1, 8):
            coarse = torch.rand(1, 3, 3 << octave, 4 << octave, generator=generator) - 0.5
            image += torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear") / octave
        made.append(encode_jpeg((128 + 160 * image[0]).clamp(0, 255).byte(), quality=95))
    return made


def jpeg(target: torch.device, count: int = 64, rounds: int = 5) -> Iterator[Row]:
    """Decoding alone: nvJPEG through torchvision, and torchvision's decoder on 1 to all CPU threads."""
    data = photographs(count)
    yield {"what": "mean size", "KB": sum(map(len, data)) / count / 1e3}
    if target.type == "cuda":
        try:
            decode = partial(decode_jpeg, data, mode=ImageReadMode.RGB, device=target)
            rate = rate_of(decode, count, rounds, target)
            yield {"what": "torchvision.io.decode_jpeg on the GPU", "images/s": rate}
        except RuntimeError as error:
            yield {"what": f"torchvision.io.decode_jpeg on the GPU: {str(error).splitlines()[0]}"}
    for threads in thread_counts():
        with ThreadPoolExecutor(threads) as pool:
            rate = rate_of(lambda: list(pool.map(decode_jpeg, data)), count, rounds, target)
        yield {"what": f"torchvision.io.decode_jpeg, {threads} CPU threads", "images/s": rate}


def rate_of(work: Callable[[], object], images: int, rounds: int, target: torch.device) -> float:
    """Images a second of a call that makes so many: the median of a few."""
    seconds = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        work()
        if target.type == "cuda":
            torch.cuda.synchronize(target)
        seconds.append(time.perf_counter() - begin)
    return images / float(np.median(seconds[1:]))


def thread_counts() -> list[int]:
    """1, 2, 4 … and all of this machine's."""
    most = len(os.sched_getaffinity(0))
    return sorted({min(1 << k, most) for k in range(12)})


def loader(target: torch.device, count: int = 2048, side: int = 256) -> Iterator[Row]:
    """The loader from arrays, whose crops the CPU scales, and from JPEGs where DALI is: 1 to all threads."""
    images = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    arrays = images, np.arange(count) % 10
    for threads in thread_counts():
        yield {
            "what": f"fastaug.loader, arrays of {side}², {threads} threads",
            "images/s": epoch_rate(arrays, threads, target),
        }
    if not find_spec("nvidia.dali"):
        yield {"what": "fastaug.loader, JPEG files: DALI is not installed"}
        return
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").mkdir()
        for k, data in enumerate(photographs() * 8):
            (Path(folder) / "a" / f"{k:03}.jpg").write_bytes(data.numpy().tobytes())
        for threads in thread_counts():
            yield {
                "what": f"fastaug.loader, JPEG files decoded on the CPU, {threads} threads",
                "images/s": epoch_rate(folder, threads, target),
            }


def epoch_rate(data: object, threads: int, target: torch.device) -> float:
    """Images a second of the second of two epochs, at batches of 128 images of 224² in float16."""
    augment = [
        fa.RandomResizedCrop(224),
        fa.RandomHorizontalFlip(),
        fa.RandomErasing(),
        fa.MixUp(0.2),
        fa.Normalize(),
    ]
    with fa.loader(
        data,
        128,
        True,
        num_workers=threads,
        augment=augment,
        num_classes=10,
        dtype=torch.float16,
        device=target,
        memory_format=torch.channels_last,
        decode="cpu",
    ) as batches:
        for _ in range(2):
            begin, images = time.perf_counter(), 0
            for batch, _targets in batches:
                images += len(batch)
            if target.type == "cuda":
                torch.cuda.synchronize(target)
            seconds = time.perf_counter() - begin
    return images / seconds


def gratings(count: int, side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Images ``[count, side, side, 3]`` of stripes with noise, whose direction, one of ten, is the label."""
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 10
    y, x = np.mgrid[:side, :side]
    turn = np.pi * labels[:, None, None] / 10
    phase = rng.uniform(0, 2 * np.pi, (count, 1, 1))
    waves = np.sin((np.cos(turn) * x + np.sin(turn) * y) * rng.uniform(0.5, 0.9, (count, 1, 1)) + phase)
    images = 128 + 60 * waves[..., None] + rng.normal(0, 25, (count, side, side, 3))
    return images.clip(0, 255).astype(np.uint8), labels


def train(target: torch.device, count: int = 3000, epochs: int = 6) -> Iterator[Row]:
    """A small network learns directions of stripes from the loader's batches; chance is 0.1."""
    torch.manual_seed(0)
    parts: list[torch.nn.Module] = []
    for channels, wider in ((3, 32), (32, 64), (64, 128)):
        parts += [torch.nn.Conv2d(channels, wider, 3, 2, 1), torch.nn.BatchNorm2d(wider), torch.nn.ReLU()]
    parts += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(128, 10)]
    net = torch.nn.Sequential(*parts).to(target)
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    crop = fa.RandomResizedCrop(32, scale=(0.6, 1), ratio=(1, 1))
    learn = [crop, fa.Cutout(6), fa.MixUp(0.2), fa.Normalize()]
    common: dict[str, Any] = dict(num_workers=2, num_classes=10, device=target)
    batches = fa.loader(gratings(count), 100, True, augment=learn, **common)
    tests = fa.loader(gratings(500), 100, augment=[fa.Resize(32), fa.Normalize()], **common)
    begin = time.perf_counter()
    for epoch in range(epochs):
        net.train()
        for images, targets in batches:
            loss = torch.nn.functional.cross_entropy(net(images), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            right = sum(int((net(images).argmax(1) == targets).sum()) for images, targets in tests)
        yield {
            "what": f"epoch {epoch}",
            "loss": loss.item(),
            "accuracy": right / 500,
            "seconds": time.perf_counter() - begin,
        }
    batches.close()
    tests.close()
    if right < 350:
        raise SystemExit(f"the network learnt too little: {right} of 500 test images are right")


def overrun(device: GpuDevice) -> Iterator[Row]:
    """A launch that writes one image past its output: only for compute-sanitizer, which has to report it."""
    output, plan = Output(torch.float32, False, fa.Normalize()), plan_of([fa.Resize((64, 64))], 2, 0)
    make_executor("cuda", output, device, 1).close()  # loads the kernels
    with device.working():
        pixels, noise = pixels_on(device, 2, (64, 64))[0], device.constant(torch.from_numpy(NOISE))
        tables, short = device.upload(tables_of(plan)), device.empty((1, 3, 64, 64), torch.float32)
        device.launch(describe(output, plan, *(t.data_ptr() for t in (pixels, tables, noise, short))))
        device.mark().synchronize()
    yield {"what": "one image was written past the end of a tensor"}


ON_THE_GPU: dict[str, Callable[[GpuDevice], Iterator[Row]]] = {
    "kernels": kernels,
    "policies": policies,
    "stage": stage,
    "overrun": overrun,
}
ANYWHERE: dict[str, Callable[[torch.device], Iterator[Row]]] = {
    "jpeg": jpeg,
    "loader": loader,
    "train": train,
}


def shown(row: Row) -> str:
    """A row as a line."""
    figures = [
        f"{value:.0%} {key}"
        if key == "of copy"
        else f"{value:,.4g} {key}"
        if value < 100
        else f"{value:,.0f} {key}"
        for key, value in row.items()
        if key != "what"
    ]
    return f"{row['what']:58} {'   '.join(figures)}"


def main() -> int:
    """Measures one part, prints its table, and writes it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=[*ON_THE_GPU, *ANYWHERE])
    parser.add_argument("--json", type=Path, help="a file for the figures")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU that torch can use; nothing was measured")
        return NO_GPU
    device = cast(GpuDevice, make_device("cuda"))
    part = ON_THE_GPU[args.part](device) if args.part in ON_THE_GPU else ANYWHERE[args.part](device.target)
    rows = []
    for row in part:
        print(shown(row), flush=True)
        rows.append(row)
        if args.json:  # after each: what ran before a time limit is kept
            args.json.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
