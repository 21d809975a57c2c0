"""A fault has an owner: what is wrong with a file counts as a bad file; what is wrong with the machine is
raised as what it is, and neither counted nor kept."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading

import pytest

import fastaug as fa
from fastaug.data import scanned
from fastaug.data.cache import name_of
from fastaug.data.datasets import as_listing
from fastaug.files import cache_folder
from fastaug.machine.limits import CONTENT

AUGMENT = [fa.Resize((16, 16))]
FAULTS = {
    errno.EACCES: "may not read it",
    errno.EIO: "no file is to blame",
    errno.ESTALE: "no file is to blame",
    errno.EMFILE: "ulimit -n",
    errno.ENFILE: "fs.file-max",
    errno.ENOMEM: "free memory",
    errno.ETIMEDOUT: "no file is to blame",
}


@pytest.fixture
def folder(photos, tmp_path):
    return shutil.copytree(photos, tmp_path / "photos")


@pytest.fixture
def fail(monkeypatch):
    """Lets a call of ``os`` fail for one file from now on, or again for none."""
    real = {name: getattr(os, name) for name in ("open", "stat")}

    def set_to(name, number, victim):
        def failing(path, *args, **options):
            if isinstance(path, bytes) and os.fsdecode(path) == victim:
                raise OSError(number, os.strerror(number), path)
            return real[name](path, *args, **options)

        monkeypatch.setattr(scanned.os, name, failing if number else real[name])
        if name == "stat":  # the kernel's word is asked for again here when it finds an error
            monkeypatch.setattr(scanned, "library", lambda: None)

    return set_to


@pytest.mark.parametrize("call", ["open", "stat"])
@pytest.mark.parametrize(
    ("mode", "number"),
    [
        ("skip", errno.EACCES),
        ("skip", errno.EMFILE),
        ("replace", errno.EIO),
        *(
            pytest.param(m, n, marks=pytest.mark.release)
            for m in ("raise", "skip", "replace")
            for n in FAULTS
        ),
    ],
)
def test_a_fault_of_the_machine_is_raised_and_forgotten(folder, fail, number, call, mode):
    victim = as_listing(folder).paths[5]
    options = dict(augment=AUGMENT, on_error=mode, max_bad=0)
    if call == "open":  # at the scan
        fail(call, number, victim)
        with pytest.raises(OSError, match=FAULTS[number]) as caught:
            fa.loader(folder, 4, **options)
        assert caught.value.errno == number
        assert not (cache_folder() / name_of(as_listing(folder))).exists()
        fail(call, 0, victim)
    with fa.loader(folder, 4, **options) as loader:
        images = sum(len(x) for x, _ in loader)
        os.utime(victim, ns=(1, 1))  # so that it is read again
        fail(call, number, victim)
        with pytest.raises(OSError, match=FAULTS[number]) as caught:
            list(loader)
        assert caught.value.errno == number
        assert loader.bad_files == {}
        fail(call, 0, victim)
        assert sum(len(x) for x, _ in loader) == images
    with fa.loader(folder, 4, **options) as loader:
        assert loader.bad_files == {}


@pytest.mark.parametrize("number", sorted(CONTENT), ids=errno.errorcode.get)
def test_a_fault_of_a_path_is_a_bad_file_and_looked_at_again(folder, fail, number):
    victim = as_listing(folder).paths[5]
    fail("open", number, victim)
    with fa.loader(folder, 4, augment=AUGMENT, on_error="skip", max_bad=None) as loader:
        assert list(loader.bad_files.values()) == [os.strerror(number)]
    fail("open", 0, victim)
    with fa.loader(folder, 4, augment=AUGMENT, on_error="skip", max_bad=None) as loader:
        assert loader.bad_files == {}


def test_a_path_that_is_too_long_is_one_bad_file(folder):
    good = as_listing(folder).paths[:3]
    pairs = [(path, 0) for path in (*good, "/" + "x/" * 3000 + "x.jpg", "a\0b.jpg")]
    with fa.loader(pairs, 5, augment=AUGMENT, on_error="skip", max_bad=None) as loader:
        assert [len(x) for x, _ in loader] == [3]
        assert sorted(loader.bad_files.values()) == ["File name too long", "a NUL byte in the path"]


FEW_DESCRIPTORS = """
import os, resource, sys
import fastaug as fa
loader = fa.loader(sys.argv[1], 4, augment=[fa.Resize((16, 16))], on_error=sys.argv[2], max_bad=None)
first = next(iter(loader))
held = []
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
for _ in range(2):
    try:
        print("batches", len(list(loader)))
    except OSError as error:
        print("raised", error.errno, "ulimit -n" in str(error), "64" in str(error))
print("bad", len(loader.bad_files))
for number in held:
    os.close(number)
print("images", sum(len(x) for x, _ in loader))
loader.close()
"""


@pytest.mark.parametrize("mode", ["skip", pytest.param("replace", marks=pytest.mark.release)])
def test_too_few_descriptors_blame_no_file(folder, mode):
    n = len(as_listing(folder))
    command = [sys.executable, "-c", FEW_DESCRIPTORS, str(folder), mode]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [*["raised 24 True True"] * 2, "bad 0", f"images {n}"], done.stderr


@pytest.mark.parametrize("left", [0, 3, 8])
def test_too_few_threads_are_said_and_blame_no_file(folder, monkeypatch, left):
    started, start = [], threading.Thread.start

    def limited(thread):
        if len(started) >= left:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(RuntimeError, match="ulimit -u"):  # noqa: PT012
        loader = fa.loader(folder, 4, augment=AUGMENT, on_error="skip", max_bad=None)
        list(loader)
    monkeypatch.undo()
    with fa.loader(folder, 4, augment=AUGMENT) as loader:
        assert loader.bad_files == {}
        assert sum(len(x) for x, _ in loader) == len(as_listing(folder))
