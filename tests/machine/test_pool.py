from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from fastaug.machine.device import Pool


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_is_used_again_and_aligned():
    pool = Pool()
    first = address(pool.take((3, 5), np.float32))
    assert first % 64 == 0
    for dtype, shape in ((np.float32, (5, 3)), (np.uint8, (60,)), (np.float32, (15,))):
        array = pool.take(shape, dtype)
        assert (array.shape, array.dtype, address(array)) == (shape, dtype, first)
        del array


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array[1:],
        lambda array: array[1:].T[0],
        lambda array: memoryview(array),
        torch.from_numpy,
        lambda array: torch.from_numpy(array)[1:, 0],
        lambda array: torch.from_numpy(array).permute(1, 0).numpy(),
        lambda array: torch.from_numpy(array).view(torch.int32),
        lambda array: torch.from_numpy(array) * torch.ones(1, requires_grad=True),  # autograd saves it
    ],
)
def test_whatever_shows_memory_keeps_it(hold):
    pool = Pool()
    array = pool.take((4, 4), np.float32)
    place = address(array)
    held = hold(array)
    del array
    assert all(address(pool.take((4, 4), np.float32)) != place for _ in range(20))
    del held
    assert address(pool.take((4, 4), np.float32)) == place or len(pool._buffers) <= 2
    taken = [pool.take((4, 4), np.float32) for _ in range(3)]
    assert place in map(address, taken)


def test_free_memory_is_bounded_by_a_few_of_the_largest():
    pool = Pool()
    for size in range(1, 200):
        pool.take((size,), np.uint8)
    assert len(pool._buffers) <= 5
    assert sum(memory.nbytes for memory, _ in pool._buffers) < 5 * 300
    for _ in range(3):  # batches of 1 to 64: no more than a few of the largest
        for n in (*range(1, 65), *range(64, 0, -1)):
            pool.take((n, 1000), np.float32)
    assert sum(memory.nbytes for memory, _ in pool._buffers) <= 5 * (64 * 4000 + 64)
    held = [pool.take((64,), np.uint8) for _ in range(50)]
    assert len({address(array) for array in held}) == 50


def test_threads_never_share_memory():
    pool, wrong = Pool(), []

    def work(number: int) -> None:
        for k in range(300):
            array = pool.take((16 + k % 3,), np.int64)
            array[:] = number
            if (array != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
