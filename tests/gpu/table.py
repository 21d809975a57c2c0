"""The table that the tests of tests/gpu end with: what ran, what it differed by, and how fast it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

PROPERTY = "line of the table"  # what tests recorded, among their reports' user_properties
_STATES = {"passed": "ok", "failed": "FAILED", "skipped": "not run"}
HEADER = f"{'':8}{'what ran':46}{'images/s':>12} {'copy':>6} {'host µs':>7}  difference"


class Line(NamedTuple):
    """What a test says of itself; its outcome says whether that is as promised.

    Attributes:
        name: what ran.
        difference: what it differed by, in words.
        rate: images a second, where it was measured.
        bandwidth: bytes moved a second as a share of a device copy's, where it was measured.
        host: seconds that the host needs to start a batch, where they were measured.
    """

    name: str
    difference: str = ""
    rate: float | None = None
    bandwidth: float | None = None
    host: float | None = None

    def shown(self, outcome: str) -> str:
        """The line with a report's outcome in front."""
        rate = f"{self.rate:12,.0f}" if self.rate else f"{'':12}"
        share = f"{self.bandwidth:6.0%}" if self.bandwidth else f"{'':6}"
        host = f"{self.host * 1e6:7,.0f}" if self.host else f"{'':7}"
        return f"{_STATES[outcome]:8}{self.name:46}{rate} {share} {host}  {self.difference}"


def table(reports: Iterable) -> list[str]:
    """The lines of pytest's reports, in the order in which the tests ran.

    Tests that recorded nothing share a line with the others of their function that ended in the same way.
    """
    lines: list[str] = []
    others: dict[tuple[str, str, str], tuple[int, int]] = {}  # -> where its line goes, how many tests
    for report in sorted(reports, key=lambda report: report.start):
        recorded = [Line(*value) for name, value in report.user_properties if name == PROPERTY]
        if recorded and not report.skipped:
            lines += [line.shown(report.outcome) for line in recorded]
            continue
        key = _name(report.nodeid), report.outcome, _reason(report)
        place, count = others.setdefault(key, (len(lines), 0))
        if not count:
            lines.append("")
        others[key] = place, count + 1
    for (name, outcome, reason), (place, count) in others.items():
        words = [f"{count} tests"] * (count > 1) + [reason] * bool(reason)
        lines[place] = Line(name, ": ".join(words)).shown(outcome)
    return lines


def _name(nodeid: str) -> str:
    """A test's function in words."""
    return nodeid.split("::")[-1].split("[")[0].removeprefix("test_").replace("_", " ")


def _reason(report) -> str:
    """Why a test was skipped or failed, in a line."""
    if report.skipped:
        return report.longrepr[2].removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return crash.message.splitlines()[0] if crash else ""
