"""``fastaug selftest`` on a GPU: with or without DALI and Kornia, what is installed is right."""

from __future__ import annotations

from fastaug import selftest


def test_everything_that_selftest_checks(device):
    for result in selftest.checks(device):
        assert result.passed is not False, result
