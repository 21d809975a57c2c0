"""Workers that are killed, that raise, or do not answer; few bytes of shared memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import get_worker_info

import fastaug as fa

from .sets import Photos, Troubled, photo

CROP = [fa.RandomResizedCrop(16), fa.RandomHorizontalFlip()]


def labels_of(loader):
    return torch.cat([targets for _, targets in loader]).tolist()


@pytest.fixture
def switch(tmp_path):
    path = tmp_path / "on"
    path.write_text("")
    return path


@pytest.mark.parametrize(
    ("what", "words"), [("kill", "SIGKILL"), pytest.param("exit", "status 3", marks=pytest.mark.release)]
)
@pytest.mark.parametrize("persistent", [False, True])
def test_a_lost_worker_is_named_with_its_sample_and_the_next_epoch_works(switch, what, words, persistent):
    data = Troubled(what, 13, switch)
    with fa.loader(data, 4, num_workers=2, augment=CROP, persistent_workers=persistent) as loader:
        batches = iter(loader)
        with pytest.raises(
            fa.WorkerError, match=rf"worker \d \(pid \d+\) .*{words}.* at sample 13, calling Tro"
        ):
            for _ in batches:
                pass
        assert list(batches) == []
        switch.unlink()
        assert labels_of(loader) == [i % 4 for i in range(24)]


@pytest.mark.parametrize("persistent", [False, pytest.param(True, marks=pytest.mark.release)])
def test_a_worker_that_hangs_is_named_after_the_timeout(switch, persistent):
    data = Troubled("hang", 13, switch)
    with fa.loader(data, 4, num_workers=2, augment=CROP, timeout=2, persistent_workers=persistent) as loader:
        begin = time.monotonic()
        with pytest.raises(fa.WorkerError, match=r"timeout=2 seconds.*worker 1 .*is calling sample 13"):
            list(loader)
        assert time.monotonic() - begin < 30
        switch.unlink()
        assert labels_of(loader) == [i % 4 for i in range(24)]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["process", "thread"])
def test_what_is_raised_is_said_with_its_place_and_the_next_batch_comes(switch, workers, kind):
    data = Troubled("raise", 13, switch)
    with fa.loader(data, 4, num_workers=workers, augment=CROP, workers=kind) as loader:
        batches, found = iter(loader), []
        with pytest.raises(
            fa.DecodeError, match=r"sample 13 of Troubled.*KeyError: 'missing' \(sets.py, line"
        ) as e:
            found.extend(targets for _, targets in batches)
        assert 'return {}["missing"]' in str(e.value)
        assert e.value.bad[0][0] == 13
        found.extend(targets for _, targets in batches)
        assert len(found) == 5  # all but that batch


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("on_error", ["skip", "replace"])
def test_samples_that_raise_are_skipped_or_replaced(switch, workers, on_error):
    data = Troubled("raise", 13, switch)
    with fa.loader(data, 4, num_workers=workers, augment=CROP, on_error=on_error, seed=1) as loader:
        rows = [len(targets) for _, targets in loader]
        assert rows == [4, 4, 4, 3 if on_error == "skip" else 4, 4, 4]
        assert list(loader.bad_files) == ["sample 13 of Troubled (in memory)"]


def test_the_first_sample_may_be_bad(switch):
    with fa.loader(Troubled("raise", 0, switch), 4, num_workers=1, augment=CROP, on_error="skip") as loader:
        assert [len(targets) for _, targets in loader] == [3, 4, 4, 4, 4, 4]
    with pytest.raises(KeyError, match="missing"):
        fa.loader(Troubled("raise", 0, switch, n=1), 4, augment=CROP, on_error="skip")


def test_errors_at_the_workers_start():
    def fails(number):
        raise RuntimeError("no licence")

    with fa.loader(Photos(), 4, num_workers=2, augment=CROP, worker_init_fn=fails) as loader:
        with pytest.raises(RuntimeError, match="no licence"):
            next(iter(loader))
        with pytest.raises(RuntimeError, match="no licence"):
            next(iter(loader))
    for options, words in (
        (dict(multiprocessing_context="thread"), "multiprocessing_context"),
        (dict(persistent_workers=True, num_workers=0), "persistent_workers"),
    ):
        with pytest.raises(ValueError, match=words):
            fa.loader(Photos(), 4, **{"num_workers": 2, "augment": CROP, **options})


class Starts(Photos):
    def __getitem__(self, i):
        info = get_worker_info()
        where = (info.id, info.num_workers, info.dataset is self, self.said) if info else None
        return photo(i), str(where)

    said = ""


def say(number):
    get_worker_info().dataset.said = f"worker {number}"


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_workers_start_as_torch_starts_them(context):
    data = Starts(8)
    with fa.loader(
        data, 4, num_workers=2, augment=CROP, worker_init_fn=say, multiprocessing_context=context
    ) as loader:
        said = [where for _, targets in loader for where in targets]
    assert set(said) == {"(0, 2, True, 'worker 0')", "(1, 2, True, 'worker 1')"}


class Counting(Photos):
    """Says in which process it was called, and how often it was called there."""

    calls = 0

    def __getitem__(self, i):
        self.calls += 1
        return photo(i), torch.tensor([os.getpid(), self.calls])


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_live_as_long_as_they_should(persistent):
    with fa.loader(Counting(8), 4, num_workers=2, augment=CROP, persistent_workers=persistent) as loader:
        first, second = (torch.cat([t for _, t in loader]) for _ in range(2))
    assert (set(first[:, 0].tolist()) == set(second[:, 0].tolist())) == persistent
    assert second[:, 1].max() == (8 if persistent else 4)
    for pid in second[:, 0].unique().tolist():
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_what_changed_in_the_data_set_is_seen_by_the_next_epoch():
    data = Photos(8)
    with fa.loader(data, 4, num_workers=2, augment=CROP) as loader:
        labels_of(loader)
        data.give = lambda i, pixels: (pixels, 7)
        assert labels_of(loader) == [7] * 8
        data.n = 9
        with pytest.raises(RuntimeError, match=r"length of Photos has changed .* from 8 to 9"):
            iter(loader)


def test_nothing_is_left_behind():
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with fa.loader(Photos(), 4, num_workers=2, augment=CROP) as loader:
            batches = iter(loader)
            next(batches)
            del batches
            labels_of(loader)
            iterators = [iter(loader) for _ in range(2)]
            assert [len(list(zip(*iterators, strict=True)))] == [6]
    assert threading.active_count() <= threads + 1
    assert len(os.listdir("/proc/self/fd")) <= files + 6  # torch's resource sharer


class Large(Photos):
    def __getitem__(self, i):
        return np.full((3000, 4000, 3), i, np.uint8), i


@pytest.mark.parametrize("workers", [1, 2])
def test_large_images_need_no_shared_memory(workers):
    """A batch of 12-megapixel images is 576 MB; what travels is its crops, and not through /dev/shm."""
    before = {path.name for path in Path("/dev/shm").iterdir()} if Path("/dev/shm").is_dir() else set()
    with fa.loader(Large(16), 16, num_workers=workers, augment=[fa.RandomResizedCrop(224)], seed=0) as loader:
        images, targets = next(iter(loader))
        after = {path.name for path in Path("/dev/shm").iterdir()} if Path("/dev/shm").is_dir() else set()
    assert not {name for name in after - before if name.startswith("torch")}
    assert targets.tolist() == list(range(16))
    assert torch.allclose(images, targets.float().view(-1, 1, 1, 1).expand_as(images) / 255)


def test_batches_larger_than_a_slot():
    class Batches:
        def __iter__(self):
            yield from ([0], list(range(1, 20)), [20, 21])

        def __len__(self):
            return 3

    with fa.loader(Photos(), batch_sampler=Batches(), num_workers=2, augment=CROP, seed=0) as loader:
        found = torch.cat([images for images, _ in loader])
    with fa.loader(Photos(22), 22, augment=CROP, seed=0) as loader:
        ((same, _),) = list(loader)
    assert torch.equal(found, same)


SMALL = """
import numpy as np, os, torch
import fastaug as fa
class Large(torch.utils.data.Dataset):
    def __len__(self): return 48
    def __getitem__(self, i): return np.full((3000, 4000, 3), i, np.uint8), i
if __name__ == "__main__":
    assert os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize == 64 << 20
    with fa.loader(Large(), 16, num_workers=2, augment=[fa.RandomResizedCrop(512)], seed=0) as loader:
        print([targets[0].item() for _, targets in loader])
"""


@pytest.mark.release
def test_dockers_64_megabytes_are_enough(tmp_path):
    """Five batches under way are 63 MB."""
    script = tmp_path / "small.py"
    script.write_text(SMALL)
    mount = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True).returncode:
        pytest.skip("/dev/shm cannot be mounted anew here")
    command = f"{mount} && {sys.executable} {script}"
    done = subprocess.run(["unshare", "-m", "sh", "-c", command], capture_output=True, text=True)
    assert done.stdout.strip() == "[0, 16, 32]", done.stderr
