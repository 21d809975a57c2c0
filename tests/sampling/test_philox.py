from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from fastaug.machine.library import library
from fastaug.sampling.philox import OCCURRENCE_BITS, STREAM_SHIFT, Keys, Stream, beta, philox4x32

# Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_known_answers(counter, key, result):
    words = philox4x32(np.array(counter, np.uint32)[:, None], key[0] | key[1] << 32)
    assert tuple(words[:, 0].tolist()) == result


@pytest.mark.parametrize(("draws", "first"), [(1, 0), (3, 0), (2, 1024), (2, 0xFFFFFFFE)])
@pytest.mark.parametrize("stream", [0, Stream.FLIP, 255])
def test_the_compiled_generator_is_the_same(monkeypatch, stream, draws, first):
    assert library() is not None
    rng = np.random.default_rng(0)
    index, epoch = rng.integers(0, 2**32, (2, 1000), np.uint32)
    keys = Keys(0x9ABCDEF012345678, index, epoch, rng.integers(0, 1 << STREAM_SHIFT, 1000).astype(np.uint32))
    one = Keys(0xFFFFFFFFFFFFFFFF, index[::2], 7, 3)  # numbers that all rows share, every second index
    compiled = [each.words(stream, draws, first) for each in (keys, one)]
    monkeypatch.setattr("fastaug.sampling.philox.library", lambda: None)
    for each, words in zip((keys, one), compiled, strict=True):
        assert (each.words(stream, draws, first) == words).all()


def test_uniforms_are_uniform_and_streams_are_independent():
    keys = Keys(7, np.arange(20000, dtype=np.uint32))
    a, b = keys.uniforms(Stream.CROP)[0], keys.uniforms(Stream.FLIP)[0]
    assert 0 < a.min() < a.max() < 1
    assert stats.kstest(a, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03


def test_rows_do_not_depend_on_their_neighbours():
    keys = Keys(3, np.arange(50, dtype=np.uint32), 2, np.arange(50, dtype=np.uint32) % 3)
    some = np.array([4, 17, 40])
    assert (keys[some].uniforms(Stream.CROP, 6) == keys.uniforms(Stream.CROP, 6)[:, some]).all()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 3.0])
def test_beta(alpha):
    lam = beta(Keys(11, np.arange(20000, dtype=np.uint32)), Stream.MIXUP, alpha)
    low = lam[lam < 0.5]  # near 1 a small alpha's variates round to 1
    assert abs(len(low) / len(lam) - 0.5) < 0.02
    assert stats.kstest(low, lambda x: 2 * stats.beta(alpha, alpha).cdf(x)).pvalue > 1e-3


def test_views_visits_and_streams_have_numbers_of_their_own():
    """A view (8 bits) stands above the visit (16 bits), and below the stream."""
    index = np.arange(3, dtype=np.uint32)
    words = {
        (stream, view, visit): Keys(7, index, 1, view << OCCURRENCE_BITS | visit).words(stream).tobytes()
        for stream in (0, 1, 255)
        for view in (0, 1, 255)
        for visit in (0, 1, (1 << OCCURRENCE_BITS) - 1)
    }
    assert len(set(words.values())) == len(words)
