"""Scripts as people have them, each run with DataLoader, then with fastaug in its place."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fastaug as fa

SCRIPTS = Path(__file__).parent / "scripts"
NEEDS = {"timm_train": "timm", "hf_trainer": "transformers", "accelerate_cv": "accelerate", "hdf5": "h5py"}
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.swap"))
MOST = 4  # lines of a swap


def swapped(name: str) -> tuple[str, list[str]]:
    """A script with fastaug in DataLoader's place, and the lines that are new."""
    text = (SCRIPTS / f"{name}.py").read_text()
    gone, new, groups = list[str](), list[str](), list[tuple[list[str], list[str]]]()
    for line in (SCRIPTS / f"{name}.swap").read_text().splitlines():
        if line.startswith("- ") and new:
            groups.append((gone, new))
            gone, new = [], []
        (gone if line.startswith("- ") else new).append(line[2:])
    groups.append((gone, new))
    for before, after in groups:
        old = "".join(line + "\n" for line in before)
        assert text.count(old) == 1 or not before, (name, old)
        made = "".join(line + "\n" for line in after)
        if before:
            text = text.replace(old, made)
        else:  # an import, in front of the others
            place = text.index("\nimport ") + 1
            text = text[:place] + made + text[place:]
    return text, [
        line for _, after in groups for line in after if line not in (SCRIPTS / f"{name}.py").read_text()
    ]


def network() -> nn.Module:
    layers = [
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, 2, 1),
        nn.BatchNorm2d(32),
    ]
    return nn.Sequential(*layers, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4))


def run(name: str, text: str, folder: Path, seed: int, **options) -> float:
    torch.manual_seed(seed)
    np.random.seed(seed)
    module = types.ModuleType(name)
    exec(compile(text, f"{name}.py", "exec"), module.__dict__)
    return module.main(str(folder), network(), **options)


@pytest.fixture(scope="module")
def textures(tmp_path_factory):
    """Four kinds of stripes, hard to tell apart in their noise."""
    root, rng = tmp_path_factory.mktemp("textures"), np.random.default_rng(0)
    for split, n in (("train", 48), ("val", 40)):
        for label in range(4):
            place = root / split / "abcd"[label]
            place.mkdir(parents=True)
            for k in range(n):
                y, x = np.mgrid[:48, :48]
                turn, wave = label * np.pi / 4 + rng.normal(0, 0.12), rng.uniform(4, 7)
                stripes = np.sin((np.cos(turn) * x + np.sin(turn) * y) * 2 * np.pi / wave + rng.uniform(0, 6))
                pixels = 128 + 45 * stripes[..., None] + rng.normal(0, 35, (48, 48, 3)) + rng.normal(0, 20, 3)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{k}.png")
    return root


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_a_script_runs_with_a_swap_of_few_lines(name, textures):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name])
    text, new = swapped(name)
    assert 1 <= len(new) <= MOST
    assert "fastaug" in text
    assert 0 <= run(name, text, textures, 0, epochs=1, workers=2) <= 1


@pytest.mark.release
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "epochs"), [("torchvision_reference", 24), ("hdf5", 16)])
def test_a_swapped_script_learns_as_well(name, epochs, textures):
    plain, (swap, _) = (SCRIPTS / f"{name}.py").read_text(), swapped(name)
    before, after = (
        np.array([run(name, text, textures, seed, epochs=epochs) for seed in range(3)])
        for text in (plain, swap)
    )
    noise = np.hypot(before.std(ddof=1), after.std(ddof=1)) / np.sqrt(3)
    assert before.mean() > 0.6, before
    assert abs(before.mean() - after.mean()) <= max(0.03, 2.5 * noise), (before, after)
    told = [f"{each.mean():.3f} ± {each.std(ddof=1):.3f}" for each in (before, after)]
    print(f"{name}: {told[0]}, swapped {told[1]}")


def test_every_script_has_a_swap():
    assert {path.stem for path in SCRIPTS.glob("*.py")} - {"__init__"} == set(NAMES)
    assert fa.__version__
