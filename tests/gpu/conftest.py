"""Where the tests of tests/gpu run, and the table that they end with."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from fastaug.machine.device import Device, GpuDevice, make_device
from fastaug.tools import doctor

from ..simulated import SimulatedDevice
from .table import HEADER, PROPERTY, Line, table

PLACES = [f"cuda:{k}" for k in range(torch.cuda.device_count())] or ["cpu"]


def pytest_addoption(parser):
    parser.addoption(
        "--simulated",
        action="store_true",
        help="the kernels run on the host, compiled by g++: a rehearsal of tests/gpu without a GPU",
    )


@pytest.fixture(scope="session", params=PLACES)
def place(request) -> Device:
    """Each GPU in turn; the CPU where there is none."""
    return make_device(request.param)


@pytest.fixture(scope="session")
def gpu(place) -> GpuDevice:
    """Each GPU in turn, for what needs streams of its own."""
    return _gpu(place)


@pytest.fixture(scope="session")
def device(place, request) -> GpuDevice:
    """Each GPU in turn, or the simulated one, for what launches kernels and no more."""
    return SimulatedDevice() if request.config.getoption("simulated", False) else _gpu(place)


def _gpu(place: Device) -> GpuDevice:
    if place.target.type != "cuda":
        pytest.skip("no GPU that torch can use")
    return place


@pytest.fixture
def record(request) -> Callable[..., None]:
    """``record(name, difference=, rate=, bandwidth=, host=)`` adds a line to the table; see ``Line``."""

    def put(name: str, *figures: object, **more: object) -> None:
        callspec = getattr(request.node, "callspec", None)
        where = callspec.params.get("place", "cpu") if callspec else "cpu"
        name += f", {where}" * (where not in ("cpu", "cuda:0"))
        request.node.user_properties.append((PROPERTY, tuple(Line(name, *figures, **more))))

    return put


def pytest_terminal_summary(terminalreporter):
    stats = terminalreporter.stats
    reports = [report for key in ("passed", "failed", "error", "skipped") for report in stats.get(key, [])]
    ran = (report for report in reports if hasattr(report, "when"))  # not what could not be collected
    lines = table(report for report in ran if report.nodeid.startswith("tests/gpu/"))
    if lines:
        terminalreporter.section("the kernels and decoders of this machine")
        terminalreporter.write_line("\n".join([*doctor.report(), "", HEADER, *lines]))
