"""fastaug with an entropy index: a place each 128 pixels."""

from __future__ import annotations

from workloads import Job

from fastaug.data.entropy import TILE

from . import ours
from .ours_rows import indexed

TITLE = "fastaug, index each 128 pixels"


def make(job: Job):
    """As fastaug's own, at the same seed: the same pixels."""
    return ours.make(indexed(job, TILE))
