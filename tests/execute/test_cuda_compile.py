"""The kernels through NVRTC, by the loader's own options, and through nvcc; and what became of them."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fastaug.machine import nvrtc

ROOT = Path(__file__).parents[2]
WANTED = range(70, 130)
POLICY = {"policy_count", "policy_apply", "policy_apply_slanted", "policy_mix"}
TOOLKIT = os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "bin")
NVCC = shutil.which("nvcc", path=os.pathsep.join([os.environ.get("PATH", ""), TOOLKIT]))
needs_nvrtc = pytest.mark.skipif(
    not nvrtc.installed(), reason="no NVRTC here: pip install nvidia-cuda-nvrtc-cu12"
)


def load_report():
    spec = importlib.util.spec_from_file_location("cuda_report", ROOT / "benchmarks" / "cuda_report.py")
    module = sys.modules["cuda_report"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check(arch, lib=None):
    """Compiles all kernels for sm_<arch>: nothing but registers, and wide stores."""
    if arch < 75:  # which cuobjdump does not know any more
        for program in nvrtc.PROGRAMS:
            assert lib.compile(*nvrtc.source(program), arch)[:4] == b"\x7fELF"
        return
    report = load_report()
    if report.cuobjdump() is None:
        pytest.skip("no cuobjdump here: pip install triton")
    kernels = {program: report.measure(arch, program, lib) for program in nvrtc.PROGRAMS}
    assert len(kernels["batch"]) == 40
    assert {k.name for k in kernels["policy"]} == POLICY
    for k in (*kernels["batch"], *kernels["policy"]):
        assert (k.stack, k.local, k.spills) == (0, 0, 0), (arch, lib, k)
        assert k.registers <= (128 if k.name.endswith("_shapes") else 64), (arch, lib, k)
    for k in kernels["batch"]:
        wide = {"float32": 16, "float16": 8, "bfloat16": 8, "uint8": 4}[k.name.split("_")[1]]
        assert k.stores[wide] >= 3, k
    for k in kernels["policy"]:
        assert k.loads[4] >= 3, k
        assert k.name == "policy_count" or k.stores[4] >= 3, k  # policy_count stores no pixels
        assert k.shared <= 8192, k


@needs_nvrtc
def test_kernels_stay_in_registers_and_store_wide():
    check(90)


@needs_nvrtc
@pytest.mark.release
@pytest.mark.timeout(1200)
def test_they_do_so_on_every_architecture():
    """With the oldest and the newest NVRTC here that know it."""
    todo = {
        (lib.version, arch): lib
        for arch in WANTED
        for known in [[lib for lib in nvrtc.installed() if arch in lib.architectures]]
        for lib in (known[:1] + known[-1:] if arch in (75, 90, 120) else known[:1])
    }
    assert {arch for _, arch in todo} >= {75, 80, 86, 89, 90, 100, 120}
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda job: check(job[0][1], job[1]), todo.items()))


@pytest.mark.skipif(NVCC is None, reason="no nvcc here (a CUDA toolkit has it)")
@pytest.mark.release
@pytest.mark.timeout(600)
def test_nvcc_compiles_for_every_architecture(tmp_path):
    codes = subprocess.run([NVCC, "--list-gpu-code"], check=True, capture_output=True, text=True).stdout
    found = [int(code) for code in re.findall(r"sm_(\d+)\b", codes) if int(code) in WANTED]
    assert len(found) >= 5

    def compile(arch, program):
        subprocess.run(
            [
                NVCC,
                "-cubin",
                "-std=c++17",
                "--fmad=false",
                "-Werror",
                "all-warnings",
                f"-arch=sm_{arch}",
                "-I",
                ROOT / "kernels",
                "-o",
                tmp_path / f"{program}{arch}.cubin",
                ROOT / "kernels" / f"{program}.cu",
            ],
            check=True,
        )

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(compile, *zip(*[(a, p) for a in found for p in nvrtc.PROGRAMS], strict=True)))


def test_the_committed_table_is_about_these_kernels():
    text = (ROOT / "benchmarks" / "cuda-kernels.md").read_text()
    names = set(re.findall(r"`(batch_\w+|policy_\w+)`", text))
    assert len(names) == 40 + len(POLICY)
    for name in names:
        assert re.search(rf"`{name}` \| \d+ \| 0 \| 0 \|", text)


@needs_nvrtc
def test_machine_code_is_cached_and_errors_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    newest = nvrtc.installed()[0]
    first = nvrtc.cubin("policy", 13000, (9, 0))
    monkeypatch.setattr(nvrtc.Nvrtc, "compile", lambda *a: pytest.fail("compiled again"))
    assert nvrtc.cubin("policy", 13000, (9, 0)) == first
    (file,) = tmp_path.rglob("*.cubin")
    file.write_bytes(file.read_bytes()[:-1] + b"?")  # a disk's fault: not loaded
    with pytest.raises(BaseException, match="compiled again"):
        nvrtc.cubin("policy", 13000, (9, 0))
    with pytest.raises(ImportError, match=r"sm_20 under a driver of CUDA 12.4.*nvidia-cuda-nvrtc-cu12"):
        nvrtc.choose((12, 4), 20)
    with pytest.raises(ImportError, match="executor='kornia'"):
        nvrtc.choose((11, 8), 90)
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match=r"cannot compile(.|\n)*nonsense"):
        newest.compile("nonsense", {}, 90)


@needs_nvrtc
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "fastaug").write_text("a file where the folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert nvrtc.cubin("policy", 13000, (9, 0))[:4] == b"\x7fELF"


def test_the_drivers_version_decides(monkeypatch):
    """cupy-cuda12x beside torch's CUDA 13 wheels: a CUDA 12 driver must get NVRTC 12."""
    versions = [lib.version[0] for lib in nvrtc.installed()]
    if sorted(set(versions)) != [12, 13]:
        pytest.skip("needs NVRTC of CUDA 12 and 13, as fastaug[cuda12] and torch bring them")
    assert nvrtc.choose((12, 4), 90).version[0] == 12
    assert nvrtc.choose((13, 0), 90).version[0] == 13
    assert nvrtc.choose((13, 0), 70).version[0] == 12  # NVRTC 13 has no sm_70
