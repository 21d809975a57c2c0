"""Every system call on a run's files and on a data set's fails once: nothing is lost, no file is blamed.

In the release tier; needs a C++ compiler.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.release, pytest.mark.timeout(900)]
ROOT = Path(__file__).parent

COMMON = """
import ctypes, errno, json, os, sys
from pathlib import Path
shim = ctypes.CDLL(None)
shim.faults_failed.restype, shim.faults_calls.restype = ctypes.c_char_p, ctypes.c_long
def arm(at, number):
    shim.faults_set(ctypes.c_long(at), number)
folder, found = Path(os.environ["FAULTS_IN"]), []
"""

SAVES = (
    COMMON
    + """
import torch
from fastaug.train.checkpoint import load, save
folder.mkdir()
def state(epoch):
    names = "optimizer scaler loader sums step history spent confusion described identity"
    weights = {"a": torch.full((50_000,), float(epoch))}
    return dict.fromkeys(names.split(), 0) | {"network": weights, "epoch": epoch}
for number in (errno.EIO, errno.ENOSPC):
    at = 0
    while True:
        save(state(1), folder, ["last.pt", "best.pt"])
        at += 1
        arm(at, number)
        try:
            save(state(2), folder, ["last.pt", "best.pt"])
            said = "saved"
        except OSError as error:
            said = str(error)
        call, calls = shim.faults_failed().decode(), shim.faults_calls()
        arm(0, 0)
        left = sorted(p.name for p in folder.iterdir() if p.suffix != ".pt")
        found.append((call, said, [load(folder / n)["epoch"] for n in ("last.pt", "best.pt")], left))
        for name in left:
            (folder / name).unlink()
        if at > calls:
            break
print(json.dumps(found))
"""
)

EPOCHS = (
    COMMON
    + """
import logging
logging.disable(logging.WARNING)
import fastaug as fa
def run(mode):
    loader = None
    try:
        augment = [fa.Resize((16, 16))]
        loader = fa.loader(folder / "photos", 4, augment=augment, on_error=mode, max_bad=0, num_workers=1)
        return sum(len(x) for x, _ in loader), "", len(loader.bad_files)
    except (OSError, RuntimeError, ValueError) as error:
        return None, f"{type(error).__name__}: {error}", len(loader.bad_files) if loader else 0
    finally:
        if loader is not None:
            loader.close()
whole = run("raise")
for number in (errno.EIO, errno.EMFILE):
    for cached in (False, True):
        at = 0
        while True:
            if not cached:
                for file in (folder / "cache" / "fastaug").glob("*"):
                    file.unlink()
            at += 1
            arm(at, number)
            outcome = run("skip")
            call, calls = shim.faults_failed().decode(), shim.faults_calls()
            arm(0, 0)
            found.append((call, outcome, run("raise")))
            if at > calls:
                break
print(json.dumps((whole, found)))
"""
)


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a C++ compiler")
    out = tmp_path_factory.mktemp("shim") / "faults.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-std=c++17", "-o", out, ROOT / "faults.cpp", "-ldl"],
        check=True,
    )
    return out


def outcomes(code: str, shim: Path, folder: Path) -> list:
    environment = os.environ | {"LD_PRELOAD": str(shim), "FAULTS_IN": str(folder)}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
        cwd=ROOT.parent,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_every_call_of_a_save(shim, tmp_path):
    found = outcomes(SAVES, shim, tmp_path / "run")
    failed = [call for call, *_ in found if call]
    assert len(failed) > 30
    assert {"open64", "write", "fsync", "rename"} <= set(failed)
    for call, said, epochs, left in found:
        assert said == "saved" or "cannot be written" in said
        assert epochs == [2, 2] if said == "saved" else epochs[0] == 1, (call, said, epochs)
        assert not left or call == "unlink", (call, left)
    assert found[-1][1] == "saved"


def test_every_call_of_an_epoch(shim, tmp_path):
    from fastaug.tools.demo import make_photos

    folder = tmp_path / "data"
    make_photos(folder / "photos", 2)
    whole, found = outcomes(EPOCHS, shim, folder)
    assert whole[1:] == ["", 0]
    failed = [call for call, *_ in found if call]
    assert len(failed) > 200
    for call, (images, said, bad), after in found:
        assert bad == 0, (call, said)  # no file is blamed
        assert images == whole[0] or (images is None and said.startswith(("OSError", "PermissionError"))), (
            call,
            said,
        )
        assert after == whole, (call, after)  # and nothing is lost
