"""The GPU's Python from loader to launch, on a simulated device that runs late and out of order."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from measure import crops_of

import fastaug as fa
from fastaug.execute import make_executor
from fastaug.execute.cuda import CudaExecutor
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import Output
from fastaug.machine.device import PlainDevice

from ..conftest import draw_plan, write_corrupt
from ..simulated import SimulatedDevice, Stream

AUGMENT = [
    fa.RandomResizedCrop(48),
    fa.RandomHorizontalFlip(),
    fa.GridMask((10, 20), p=0.5),
    fa.RandomErasing(value="random"),
    fa.OneOf([fa.MixUp(0.4), fa.CutMix(1.0)]),
    fa.Normalize(),
]
FORMATS = [
    (torch.float32, torch.contiguous_format),
    (torch.float16, torch.channels_last),
    (torch.bfloat16, torch.contiguous_format),
]


@pytest.fixture
def photos(photos):
    """Photographs, where there is DALI to decode them."""
    pytest.importorskip("nvidia.dali")
    return photos


def simulate(monkeypatch, device):
    monkeypatch.setattr(sys.modules["fastaug.build"], "make_device", lambda wanted: device)
    return device


def raw(tensor):
    """A batch's bytes in memory order."""
    last = tensor.ndim == 4 and not tensor.is_contiguous()
    dense = tensor.permute(0, 2, 3, 1) if last else tensor
    return dense.contiguous().view(torch.uint8).numpy().reshape(-1)


def wanted(photos, **options):
    with fa.loader(photos, 8, True, device="cpu", augment=AUGMENT, seed=3, **options) as loader:
        return [(raw(images).copy(), raw(targets).copy()) for images, targets in loader]


def received(device, loader):
    """What a training loop on a stream of its own reads, dropping each batch at once."""
    user, reads = Stream("user"), []
    with device.on(user):
        for images, targets in loader:
            reads.append((device.read(images), device.read(targets)))
            del images, targets
            gc.collect()
    device.synchronize()
    return reads


def same(a, b):
    return all((x == y).all() for pair in zip(a, b, strict=True) for x, y in zip(*pair, strict=True))


@pytest.mark.parametrize(
    ("dtype", "layout"), [FORMATS[0], *(pytest.param(*f, marks=pytest.mark.release) for f in FORMATS[1:])]
)
def test_cpu_decoding_and_gpu_kernels_make_the_cpus_bytes(photos, monkeypatch, dtype, layout):
    want = wanted(photos, dtype=dtype, memory_format=layout)
    for seed in range(4):
        device = simulate(monkeypatch, SimulatedDevice(seed))
        with fa.loader(
            photos,
            8,
            True,
            augment=AUGMENT,
            seed=3,
            dtype=dtype,
            memory_format=layout,
            decode="cpu",
            num_workers=2,
            prefetch_factor=1 + seed,
        ) as loader:
            assert isinstance(loader._engine.executor, CudaExecutor)
            got = received(device, loader)
        assert same(got, want)
        assert len(device.launches) >= len(want)
        assert device.spoilt > 2 * len(want)  # memory did come back


def test_gpu_decoding_hands_its_images_to_the_kernels(photos, monkeypatch):
    for seed in range(4):
        device = simulate(monkeypatch, SimulatedDevice(seed))
        with fa.loader(
            photos, 8, True, augment=AUGMENT, seed=3, decode=fa.Decode("gpu", threads=1), with_plan=True
        ) as loader:
            user, reads, expected = Stream("user"), [], []
            with device.on(user):
                for images, _, plan in loader:
                    reads.append(device.read(images))
                    expected.append(plan)
                    del images
            device.synchronize()
            pixels = [twin(loader, plan) for plan in expected]
        native = NativeExecutor(Output(torch.float32, False, fa.Normalize()), 1)
        for got, plan, image in zip(reads, expected, pixels, strict=True):
            assert (got == raw(native.run(plan, image))).all()


def twin(loader, plan):
    """The decoded and scaled images of a plan, by the same graph, synchronously."""
    from fastaug.decode.dali import shown_regions
    from fastaug.decode.graphs import images_graph
    from fastaug.decode.jobs import views_of

    pipe = images_graph(
        fa.Decode("gpu"),
        ("cpu", None),
        files=True,
        batch_size=8,
        threads=1,
        size=plan.size,
        interpolation="bilinear",
    )
    box = np.stack([plan[c] for c in ("y0", "x0", "h", "w")], 1)
    files = loader._engine.source.fetch(
        loader._engine.source.describe(plan.ticket()), np.arange(len(plan)), box
    )
    roi = shown_regions(views_of(plan, np.arange(len(plan))))
    out = pipe.run(data=[file.data for file in files], box=box, roi=roi)
    return torch.utils.dlpack.from_dlpack(out[0].as_tensor()).clone()


class NoWait(SimulatedDevice):
    def receive(self, mark, tensors):
        super().receive(type("Now", (), {"query": lambda self: True})(), tensors)


class NoRecord(SimulatedDevice):
    def receive(self, mark, tensors):
        super().receive(mark, ())


class NoStream(SimulatedDevice):
    def working(self):
        return self.on(Stream("another each time"))


class NoKeep(SimulatedDevice):
    def mark(self):
        mark = super().mark()
        mark.query = lambda: True
        return mark


@pytest.mark.parametrize("fault", [NoWait, NoRecord, NoStream, NoKeep])
@pytest.mark.release
def test_the_simulation_finds_ordering_faults(photos, monkeypatch, fault):
    """Each of these would be a race on a GPU; here it shows as wrong bytes."""
    decode = "gpu" if fault in (NoStream, NoKeep) else "cpu"

    def all_bytes(kind, seed):
        device = simulate(monkeypatch, kind(seed))
        with fa.loader(photos, 8, True, augment=AUGMENT, seed=3, decode=decode) as loader:
            return received(device, loader)

    want = all_bytes(SimulatedDevice, 0)
    assert same(all_bytes(SimulatedDevice, 1), want)
    assert not all(same(all_bytes(fault, seed), want) for seed in range(8))


def test_the_executor_works_on_the_callers_stream():
    output, size = Output(torch.float32, False, fa.Normalize()), (16, 20)
    native = NativeExecutor(output, 1)
    for seed in range(6):
        device = SimulatedDevice(seed)
        executor = make_executor("cuda", output, device, 1)
        mine, reads, want = Stream("mine"), [], []
        with device.on(mine):
            for k in range(10):
                plan = draw_plan([fa.Resize(size), fa.Cutout(5), fa.MixUp(1.0)], 4, seed=k)
                crops = crops_of(4, size, k)
                reads.append(device.read(executor.run(plan, device.upload(crops))))
                want.append(raw(native.run(plan, crops)))
        device.synchronize()
        assert all((a == b).all() for a, b in zip(reads, want, strict=True))
        assert not device._work.put  # nothing went to the engine's stream
        executor.close()


def test_a_closed_executor_has_been_read_to_the_end():
    """Its table of noise goes back to the device's memory when it is dropped."""
    output, size = Output(torch.float32, False, fa.Normalize()), (24, 20)
    plan = draw_plan([fa.Resize(size), fa.RandomErasing(p=1.0, value="random")], 4)
    crops = crops_of(4, size, 0)
    want = raw(NativeExecutor(output, 1).run(plan, crops))
    for seed in range(8):
        device = SimulatedDevice(seed)
        executor = make_executor("cuda", output, device, 1)
        with device.on(Stream("mine")):
            read = device.read(executor.run(plan, device.upload(crops)))
            executor.close()
            del executor
            gc.collect()
        device.synchronize()
        assert (read == want).all()


def test_a_closed_loader_has_been_read_to_the_end(photos, monkeypatch):
    """DALI may use its memory again as soon as the loader is dropped; its batch may still be under way."""
    with fa.loader(photos, 8, True, augment=AUGMENT, seed=3, device="cpu", with_plan=True) as plain:
        plan = next(iter(plain))[2]
    bytes_of = []
    for seed in range(8):
        device = simulate(monkeypatch, SimulatedDevice(seed))
        loader = fa.loader(photos, 8, True, augment=AUGMENT, seed=3, decode="gpu")
        with device.on(Stream("user")):
            images, _ = loader.replay(plan)
            read = device.read(images)
            loader.close()
            del loader
            gc.collect()
        device.synchronize()
        bytes_of.append(read)
    assert all((read == bytes_of[0]).all() for read in bytes_of)


def test_an_empty_batch_launches_nothing():
    device = SimulatedDevice()
    executor = make_executor(None, Output(torch.float16, False, None), device, 1)
    plan = draw_plan([fa.Resize((8, 8))], 3).take([])
    assert executor.run(plan, torch.zeros((0, 8, 8, 3), dtype=torch.uint8)).shape == (0, 3, 8, 8)
    assert not device.launches


def test_bad_files_on_the_gpu_path(photos, tmp_path, monkeypatch):
    import shutil

    root = Path(shutil.copytree(photos, tmp_path / "photos"))
    bad = write_corrupt(root)
    for decode in ("cpu", "gpu"):
        device = simulate(monkeypatch, SimulatedDevice())
        with fa.loader(root, 4, augment=AUGMENT[:1], decode=decode, on_error="skip") as loader:
            count = sum(len(images) for images, _ in loader)
            assert list(loader.bad_files) == [str(bad)]
        device.synchronize()
        assert count == len(list(root.glob("*/*.jpg"))) - 1


@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_good_rows_beside_bad_files_keep_their_pixels_on_the_gpu(photos, tmp_path, monkeypatch, on_error):
    """Rows are gathered from several of DALI's tensors, whose memory is DALI's again at once."""
    import shutil

    root = Path(shutil.copytree(photos, tmp_path / "photos"))
    write_corrupt(root)
    native = NativeExecutor(Output(torch.float32, False, fa.Normalize()), 1)
    for seed in range(3):
        device = simulate(monkeypatch, SimulatedDevice(seed))
        how = fa.Decode("gpu", threads=1)
        with fa.loader(
            root, 4, augment=AUGMENT, seed=3, decode=how, on_error=on_error, with_plan=True
        ) as loader:
            user, reads, plans = Stream("user"), [], []
            with device.on(user):
                for images, _, plan in loader:
                    reads.append(device.read(images))
                    plans.append(plan)
                    del images
            device.synchronize()
            for got, plan in zip(reads, plans, strict=True):
                assert (got == raw(native.run(plan, twin(loader, plan)))).all()
    assert loader.bad_files


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (dict(device="cuda:7"), "torch sees (no GPU|. GPU)"),
        (dict(device="cpu", decode="gpu"), "decode='gpu' needs a CUDA device"),
        (dict(device="cpu", executor="cuda"), "executor='cuda' runs on an NVIDIA GPU"),
        (dict(device="cpu", decode="nvjpeg"), "'dali', 'gpu', not 'nvjpeg'"),
        (dict(device="cpu", decode="gpu-roi"), "'dali', 'gpu', not 'gpu-roi'"),
    ],
)
def test_wrong_devices_are_refused(photos, options, words):
    with pytest.raises(ValueError, match=words):
        fa.loader(photos, 4, augment=AUGMENT, **options)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(place="mixed"), ValueError, "'dali', 'gpu', not 'mixed'"),
        (dict(hw_decoder_load=5), ValueError, "hw_decoder_load must be at least 0 and at most 1, not 5"),
        (dict(threads=0), ValueError, "threads"),
    ],
)
def test_decode_options_are_checked(options, error, words):
    with pytest.raises(error, match=words):
        fa.Decode(**options)


def test_a_gpu_without_cupy(monkeypatch):
    pytest.importorskip("kornia")
    monkeypatch.setattr(sys.modules["fastaug.execute"], "find_spec", lambda name: name != "cupy")
    output = Output(torch.float32, False, None)
    assert make_executor(None, output, SimulatedDevice(), 1).name == "kornia"
    with pytest.raises(ImportError, match="CuPy"):
        make_executor("cuda", output, SimulatedDevice(), 1)
    with pytest.raises(ValueError, match="executor='cuda'"):
        make_executor("native", output, SimulatedDevice(), 1)
    with pytest.raises(ValueError, match="'cuda'"):
        make_executor("cuda", output, PlainDevice(torch.device("cpu")), 1)
