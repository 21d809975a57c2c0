"""Policies beside torchvision v2's, the stage alone: one core, 64 images of 224 x 224, uint8 in and out.

Run: python benchmarks/policy.py. All in one process, in turns; medians.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import v2

import fastaug as fa
from fastaug.execute.native import NativeExecutor
from fastaug.execute.output import Output
from fastaug.ops.base import Augmentation
from fastaug.plan.planner import Planner
from fastaug.sampling.epoch import Ticket

N, SIDE, ROUNDS = 64, 224, 9
PAIRS: dict[str, tuple[Augmentation, torch.nn.Module]] = {
    "RandAugment": (fa.RandAugment(), v2.RandAugment()),
    "TrivialAugmentWide": (fa.TrivialAugmentWide(), v2.TrivialAugmentWide()),
    "AutoAugment": (fa.AutoAugment(), v2.AutoAugment()),
    "AugMix": (fa.AugMix(), v2.AugMix()),
    "ColorJitter": (fa.ColorJitter(0.4, 0.4, 0.4, 0.1), v2.ColorJitter(0.4, 0.4, 0.4, 0.1)),
    "RandomGrayscale": (fa.RandomGrayscale(0.5), v2.RandomGrayscale(0.5)),
    "GaussianBlur": (fa.GaussianBlur(23), v2.GaussianBlur(23)),
    "RandomSolarize": (fa.RandomSolarize(128), v2.RandomSolarize(128)),
}


def pictures() -> torch.Tensor:
    """Photographs that scikit-image bundles, cut to size: uint8 ``[N, 3, SIDE, SIDE]``."""
    import skimage.data

    photos = [skimage.data.astronaut(), skimage.data.coffee(), skimage.data.chelsea(), skimage.data.rocket()]
    crop = v2.RandomResizedCrop(SIDE, antialias=True)
    torch.manual_seed(0)
    return torch.stack(
        [
            crop(torch.from_numpy(np.asarray(Image.fromarray(photos[k % 4]))).permute(2, 0, 1))
            for k in range(N)
        ]
    )


def main() -> None:
    """Prints milliseconds an image."""
    torch.set_num_threads(1)
    images = pictures()
    crops = images.permute(0, 2, 3, 1).contiguous()
    executor = NativeExecutor(Output(torch.uint8, False, None), 1)
    side = np.full(N, SIDE, np.int64)
    print(f"{'':20} {'fastaug':>9} {'torchvision v2':>15}   ms an image, one core")
    for name, (ours, theirs) in PAIRS.items():
        planner = Planner([fa.Resize((SIDE, SIDE)), ours])

        def run_ours(turn: int, planner: Planner = planner) -> None:
            plan = planner.plan(Ticket.of(np.arange(N), epoch=turn), side, side)
            executor.run(plan, crops.clone())

        def run_theirs(turn: int, theirs: Callable[[torch.Tensor], torch.Tensor] = theirs) -> None:
            for image in images:
                theirs(image)

        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for turn in range(ROUNDS + 1):
            for who, work in (("ours", run_ours), ("theirs", run_theirs)):
                begin = time.perf_counter()
                work(turn)
                times[who].append((time.perf_counter() - begin) / N * 1e3)
        a, b = (statistics.median(times[who][1:]) for who in ("ours", "theirs"))
        print(f"{name:20} {a:9.3f} {b:15.3f}   {b / a:.1f} x")


if __name__ == "__main__":
    main()
