from __future__ import annotations

import re

import pytest

from fastaug.tools.doctor import Machine, advice, examine, report

CUDA12 = {"nvidia-dali-cuda120": "2.4.0", "cupy-cuda12x": "14.2.0", "torch": "2.14.1"}
CUDA13 = {"nvidia-dali-cuda130": "2.4.0", "cupy-cuda13x": "14.2.0", "torch": "2.14.1"}
GPU = ("cuda:0: NVIDIA H100, sm_90, 79 GiB",)


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        (Machine(CUDA12), []),
        (Machine(CUDA12, (13, 0), (13, 0), GPU, ((13, 0), (12, 9))), []),
        (Machine(CUDA12, (12, 4), (12, 6), GPU, ((13, 0), (12, 9))), []),
        (Machine(CUDA13, (13, 0), (13, 0), GPU, ((13, 0),)), []),
        (Machine({}), ["pip install 'fastaug.cuda12.'"]),
        (
            Machine({}, (13, 0), (13, 0), GPU, ((13, 0),)),
            ["Without DALI.*pip install 'fastaug.cuda13.'", "Without CuPy.*pip install 'fastaug.cuda13.'"],
        ),
        (
            Machine({**CUDA12, **CUDA13}),
            [
                "Two builds of DALI.*pip uninstall -y nvidia-dali-cuda120 nvidia-dali-cuda130 && pip install",
                "Two builds of CuPy",
            ],
        ),
        (
            Machine(CUDA13, (12, 4), (12, 6), GPU, ((12, 9),)),
            ["nvidia-dali-cuda130 and cupy-cuda13x need a driver for CUDA 13.*pip install 'fastaug.cuda12.'"],
        ),
        (
            Machine(CUDA12, (12, 4), (13, 0), (), ((12, 9),)),
            ["torch is built for CUDA 13.0.*update the driver to 580"],
        ),
        (Machine(CUDA12, (12, 4), None, (), ((12, 9),)), ["torch is a build for the CPU only"]),
        (Machine(CUDA12, (12, 4), (12, 6), (), ((12, 9),)), ["CUDA_VISIBLE_DEVICES"]),
        (
            Machine(CUDA12, (12, 4), (12, 6), GPU, ((13, 0),)),
            ["No NVRTC fits.*pip install nvidia-cuda-nvrtc-cu12"],
        ),
        (Machine(CUDA12, (11, 8), (11, 8), GPU, ((12, 9),)), ["update it to 525", "No NVRTC fits"]),
        (Machine(CUDA12, kernels="not compiled"), ["The CPU kernels do not load.*apt install g"]),
    ],
)
def test_advice(machine, words):
    found = advice(machine)
    assert len(found) == len(words), found
    for line, expected in zip(found, words, strict=True):
        assert re.search(expected, line), line
    lines = report(machine)
    assert any(line.endswith("python -m pytest tests/gpu") for line in lines)
    assert lines[-1] == (found[-1] if found else "Nothing is missing.")


def test_the_report_of_a_gpu():
    lines = report(Machine(CUDA12, (13, 0), (13, 0), GPU, ((13, 0), (12, 9))))
    assert "GPU cuda:0: NVIDIA H100, sm_90, 79 GiB" in lines
    assert "NVRTC: 13.0, 12.9" in lines
    assert "GPU driver: for CUDA 13.0" in lines


def test_this_machine():
    found = examine()
    assert found.kernels == ""
    assert "torch" in found.packages
    assert any(name.startswith("nvidia-dali") for name in found.packages)
