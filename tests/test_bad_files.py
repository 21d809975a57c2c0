from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import fastaug as fa
from fastaug.data.datasets import as_listing
from fastaug.data.opening import open_source
from fastaug.sampling.epoch import Ticket

from . import corpus
from .conftest import write_corrupt

CROP = [fa.RandomResizedCrop(24), fa.RandomHorizontalFlip()]
EVAL = [fa.Resize((24, 24))]
MODES = ("raise", "skip", "replace")


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> tuple[list[tuple[bytes, int]], dict[bytes, str]]:
    """Every case ten files apart among good ones: (path, label) pairs, and the verdict on each path."""
    folder = tmp_path_factory.mktemp("odd")
    verdicts = corpus.write(folder / "cases")
    plain = []
    for k in range(9 * len(verdicts)):
        plain.append(os.fsencode(folder / f"{k:04}.jpg"))
        image = corpus.photo(48, 36).rotate(k)
        Path(os.fsdecode(plain[-1])).write_bytes(corpus.encoded(image, "JPEG"))
    verdicts.update(dict.fromkeys(plain, corpus.GOOD))
    paths = []
    for k, case in enumerate(p for p in verdicts if b"/cases/" in p):
        paths += [case, *plain[9 * k : 9 * k + 9]]
    return [(os.fsdecode(p), i % 7) for i, p in enumerate(paths)], verdicts


def test_the_corpus_is_large_and_of_every_kind(odd):
    assert sum("/cases/" in os.fsdecode(p) for p in odd[1]) >= 60
    assert set(odd[1].values()) == {corpus.GOOD, corpus.BAD, corpus.EITHER}


def delivered(pairs, **options):
    """Path -> image of the samples asked for and delivered; the plans; and the loader's bad files."""
    images_of, plans, failed = {}, [], set()
    with fa.loader(pairs, 10, with_plan=True, dtype=torch.uint8, seed=3, num_workers=2, **options) as loader:
        batches = iter(loader)
        while True:
            try:
                images, targets, plan = next(batches)
            except fa.DecodeError as error:
                failed |= {i for i, _, _ in error.bad}
                continue
            except StopIteration:
                break
            plans.append(plan)
            for k, i in enumerate(plan["index"].tolist()):
                assert targets[k] == pairs[i][1]
                if plan.wanted[k] == i:
                    images_of[pairs[i][0]] = images[k].clone()
        return images_of, plans, loader.bad_files, {pairs[i][0] for i in failed}


@pytest.fixture(scope="module")
def clean(odd):
    """Each good sample's image, from loaders that see no other: in its own place, so at its own number."""
    pairs, verdicts = odd
    images = {}
    for name, augment in (("crop", CROP), ("eval", EVAL)):
        good = [i for i, (path, _) in enumerate(pairs) if verdicts[os.fsencode(path)] == corpus.GOOD]
        with fa.loader(
            pairs,
            sampler=good,
            batch_size=1,
            augment=augment,
            dtype=torch.uint8,
            seed=3,
            rank=0,
            world_size=1,
        ) as loader:
            found = zip(good, loader, strict=True)
            images[name] = {pairs[i][0]: batch[0].clone() for i, (batch, _) in found}
    return images


@pytest.mark.timeout(120)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["crop", "eval"])
def test_every_good_sample_comes_untouched_and_every_bad_one_is_named(odd, clean, mode, name):
    pairs, verdicts = odd
    images, plans, bad, failed = delivered(
        pairs, augment=CROP if name == "crop" else EVAL, on_error=mode, max_bad=None
    )
    surely = {p for p, _ in pairs if verdicts[os.fsencode(p)] == corpus.BAD}
    perhaps = {p for p, _ in pairs if verdicts[os.fsencode(p)] == corpus.EITHER}
    assert surely <= set(bad) <= surely | perhaps
    assert failed <= set(bad)
    assert all(bad.values())
    with_fault = {i // 10 for i, (p, _) in enumerate(pairs) if p in bad}
    expected = {
        p for i, (p, _) in enumerate(pairs) if p not in bad and (mode != "raise" or i // 10 not in with_fault)
    }
    assert set(images) == expected
    for path, image in clean[name].items():
        if path in images:
            assert torch.equal(image, images[path]), path
    if mode != "raise":
        assert len(plans) == len(pairs) // 10
    lengths = {len(p) for p in plans}
    assert lengths == ({9, 10} if mode == "skip" else {10})


def test_the_reasons_say_what_is_wrong(odd):
    pairs, _ = odd
    bad = delivered(pairs, augment=EVAL, on_error="skip", max_bad=None)[2]
    reasons = {name.rpartition("/")[2]: reason for name, reason in bad.items()}
    assert reasons["empty.jpg"] == "empty"
    assert reasons["html.jpg"] == "no readable image header: no format that Pillow knows"
    assert reasons["folder.jpg"] == reasons["pipe.jpg"] == "not a regular file"
    assert "No such file" in reasons["dangling.jpg"]
    assert "symbolic links" in reasons["loop.jpg"]
    assert reasons["jpeg of 65500 x 65500.jpg"] == "65500x65500 pixels are more than max_pixels=178956970"
    assert "max_pixels" in reasons["png of 2 ** 31 - 1.png"]
    assert reasons["no scan.jpg"].startswith("damaged: ")
    assert not any("\n" in reason for reason in bad.values())
    assert all(os.path.lexists(name) for name in bad)  # paths, as os.remove takes them


@pytest.fixture
def root(photos, tmp_path) -> Path:
    """Photographs of one's own, with a bad one among them."""
    folder = Path(shutil.copytree(photos, tmp_path / "photos"))
    write_corrupt(folder)
    (folder / "chelsea" / "empty.jpg").write_bytes(b"")
    return folder


MIXED = [*CROP, fa.OneOf([fa.MixUp(0.4), fa.CutMix(1.0)]), fa.Normalize()]


@pytest.mark.parametrize("mode", ["skip", "replace"])
def test_a_plan_replays_to_the_same_batch(root, mode, tmp_path):
    stood_in = 0
    with fa.loader(root, 8, True, augment=MIXED, on_error=mode, with_plan=True, seed=2) as loader:
        for images, targets, plan in loader:
            plan.save(tmp_path / "p.npz")
            again = fa.BatchPlan.load(tmp_path / "p.npz")
            assert (again.wanted == plan.wanted).all()
            x, y, _ = loader.replay(again)
            assert torch.equal(x, images)
            assert torch.equal(y, targets)
            for k in np.flatnonzero(plan.wanted != plan["index"]):
                stood_in += 1
                assert f"{plan['index'][k]} (for {plan.wanted[k]})" in str(plan)
                assert loader._engine.source.name(int(plan.wanted[k])) in loader.bad_files
    assert stood_in == (2 if mode == "replace" else 0)


def test_mixing_with_a_bad_partner_is_mixing_with_nothing(root):
    with fa.loader(root, 8, augment=MIXED, on_error="skip", with_plan=True, seed=2) as loader:
        with_partner = fa.loader(root, 8, augment=MIXED, on_error="replace", with_plan=True, seed=2)
        lost = 0
        for (_, y, short), (_, _, full) in zip(loader, with_partner, strict=True):
            bad = np.flatnonzero(full.wanted != full["index"])
            for k, i in enumerate(short["index"]):
                row = int(np.flatnonzero(full["index"] == i)[0])
                if full["mix"][row] and full["partner"][row] in bad:
                    lost += 1
                    assert (short["mix"][k], short["partner"][k], short["lam"][k]) == (0, k, 1)
                    assert y[k].max() == 1
        assert lost
        with_partner.close()


def test_each_is_logged_once(root, caplog):
    caplog.set_level(logging.WARNING, "fastaug")
    with fa.loader(root, 8, augment=CROP, on_error="skip") as loader:
        for _ in range(3):
            list(loader)
        assert len(loader.bad_files) == 2
    assert len([r for r in caplog.records if "cannot be read" in r.message]) == 2


def test_too_many_end_the_epoch(root):
    n = len(as_listing(root))
    for max_bad, share in ((1, None), (1.5 / n, 0)):
        options = dict(augment=CROP, on_error="skip", max_bad=max_bad)
        if share is None:
            with fa.loader(root, 8, **options) as loader:
                batches = iter(loader)
                with pytest.raises(fa.TooManyBadFiles, match=r"2 of .*max_bad allows 1.*fastaug verify"):
                    list(batches)
                assert list(batches) == []
        else:
            assert len(list(fa.loader(root, 8, **options)))
    for max_bad, error in ((1.0, ValueError), (-1, ValueError), ("few", TypeError), (-0.5, ValueError)):
        with pytest.raises(error, match="max_bad"):
            fa.loader(root, 8, augment=CROP, max_bad=max_bad)
    with pytest.raises(ValueError, match="max_pixels"):
        fa.loader(root, 8, augment=CROP, max_pixels=0)


def test_a_lost_disk_ends_the_epoch(root):
    for mode in ("skip", "replace"):
        with fa.loader(root, 4, augment=CROP, on_error=mode, max_bad=None) as loader:
            batches = iter(loader)
            next(batches)
            moved = root.with_name("away")
            root.rename(moved)
            with pytest.raises(fa.TooManyBadFiles, match="disk"):
                list(batches)
            moved.rename(root)
            assert len(list(loader)) == len(loader)


# ---- files that change while they are used ----


def truncated(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\xff\xda") + 4])


def grown(path: Path) -> None:
    path.write_bytes(corpus.claiming(65500, 65500, "JPEG"))


CHANGES = {
    "delete": Path.unlink,
    "truncate": truncated,
    "empty": lambda p: p.write_bytes(b""),
    "garbage": lambda p: p.write_bytes(np.random.default_rng(0).bytes(5000)),
    "chmod": lambda p: p.chmod(0),
    "folder": lambda p: (p.unlink(), p.mkdir()),
    "pipe": lambda p: (p.unlink(), os.mkfifo(p)),
    "too large": grown,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("mode", MODES)
def test_a_file_spoilt_in_mid_run_is_a_bad_file(root, change, mode):
    if change == "chmod" and os.geteuid() == 0:
        pytest.skip("root may read any file")
    victim = sorted(root.glob("rocket/*.jpg"))[-1]
    for bad in (root / "chelsea" / "empty.jpg", *root.glob("*/broken.jpg")):
        bad.unlink()
    with fa.loader(root, 5, augment=CROP, on_error=mode, with_plan=True) as loader:
        assert not loader.bad_files
        names = loader._engine.source._listing.paths
        before = {int(i): x for images, _, p in loader for i, x in zip(p["index"], images, strict=True)}
        loader.set_epoch(0)
        CHANGES[change](victim)
        after, errors, batches = {}, [], iter(loader)
        while True:
            try:
                images, _, plan = next(batches)
            except fa.DecodeError as error:
                errors.append(str(error))
            except StopIteration:
                break
            else:
                own = np.flatnonzero(plan.wanted == plan["index"])
                after |= {int(plan["index"][k]): images[k] for k in own}
        assert list(loader.bad_files) == [str(victim)]
        number = next(i for i in range(len(names)) if names[i] == str(victim))
        lost = {number} if mode != "raise" else {i for i in before if i // 5 == number // 5}
        assert len(errors) == (mode == "raise")
        assert all(str(victim) in error for error in errors)
        assert set(after) == set(before) - lost
        assert all(torch.equal(after[i], before[i]) for i in after)


def test_a_file_that_becomes_another_good_image_is_used(root):
    victim = sorted(root.glob("rocket/*.jpg"))[-1]
    with fa.loader(root, 5, augment=CROP, on_error="skip", with_plan=True, dtype=torch.uint8) as loader:
        names = loader._engine.source._listing.paths
        list(loader)
        victim.write_bytes(corpus.encoded(corpus.photo(30, 20), "PNG"))
        boxes = {names[int(r["index"])]: r for _, _, p in loader for r in p.rows}
        assert boxes[str(victim)]["h"] <= 20
        assert str(victim) not in loader.bad_files


def test_a_file_that_fits_the_crop_no_more_is_a_bad_file(tmp_path):
    (tmp_path / "a").mkdir()
    for k in range(6):
        (tmp_path / "a" / f"{k}.png").write_bytes(corpus.encoded(corpus.photo(40, 40), "PNG"))
    for augment in ([fa.RandomCrop(32)], []):
        with fa.loader(tmp_path, 3, augment=augment, on_error="skip", max_bad=None) as loader:
            assert sum(len(x) for x, _ in loader) == 6
            changed = tmp_path / "a" / "3.png"
            changed.write_bytes(corpus.encoded(corpus.photo(20, 60), "PNG"))
            assert sum(len(x) for x, _ in loader) == 5
            assert "60x20 pixels fit the augmentations no more" in loader.bad_files[str(changed)]
            changed.write_bytes(corpus.encoded(corpus.photo(40, 40), "PNG"))
            assert sum(len(x) for x, _ in loader) == 6


def test_max_pixels_refuses_from_the_header_alone():
    images = [
        corpus.encoded(corpus.photo(20, 10), "PNG"),
        corpus.encoded(corpus.photo(21, 10), "PNG"),
        corpus.claiming(65500, 65500, "PNG"),
    ]
    pairs = list(zip(images, range(3), strict=True))
    with fa.loader(pairs, 3, augment=EVAL, on_error="skip", max_pixels=200, max_bad=None) as loader:
        assert next(iter(loader))[1].tolist() == [0]
        assert loader.bad_files["sample 1 (in memory)"] == "10x21 pixels are more than max_pixels=200"
        assert loader.bad_files["sample 2 (in memory)"].startswith("65500x65500 pixels are more")
    assert open_source(pairs, None).bad().tolist() == []


def test_a_folder_that_links_to_itself_is_walked_once(tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "0.jpg").write_bytes(corpus.encoded(corpus.photo(), "JPEG"))
    (tmp_path / "a" / "sub" / "up").symlink_to("..")
    (tmp_path / "a" / "twin").symlink_to("sub")
    for loop in (tmp_path / "loop", tmp_path / "a" / "loop"):
        loop.symlink_to("loop")
    names = [Path(p).relative_to(tmp_path / "a").as_posix() for p in as_listing(tmp_path).paths]
    assert names == ["sub/0.jpg", "twin/0.jpg"]


# ---- ranks ----


@pytest.mark.timeout(60)
@pytest.mark.parametrize("mode", ["skip", "replace"])
def test_ranks_stay_in_step(mode):
    good = corpus.encoded(corpus.photo(), "JPEG")
    pairs = [(good, 0) if i % 2 or i > 22 else (b"", 1) for i in range(40)]  # rank 0 meets all the bad ones
    counts = []
    for rank in range(2):
        options = dict(augment=CROP, on_error=mode, max_bad=None, rank=rank, world_size=2, seed=0)
        with fa.loader(pairs, 4, **options) as loader:
            lengths = [len(x) for x, _ in loader]
            assert len(lengths) == len(loader) == 5
            counts.append(lengths)
    assert counts == [[1, 1, 1, 4, 4] if mode == "skip" else [4] * 5, [4] * 5]


def _train(rank: int, mode: str, store: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{store}", rank=rank, world_size=2)
    good = corpus.encoded(corpus.photo(), "JPEG")
    pairs = [(good, 0) if i % 2 or i > 22 else (b"", 1) for i in range(40)]
    model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(3 * 24 * 24, 2))
    with fa.loader(pairs, 4, augment=CROP, on_error=mode, max_bad=None) as loader:
        for images, targets in loader:
            torch.nn.functional.cross_entropy(model(images.flatten(1)), targets).backward()
    torch.distributed.destroy_process_group()


@pytest.mark.timeout(120)
@pytest.mark.release
def test_ddp_does_not_hang(tmp_path):
    import torch.multiprocessing as processes

    for mode in ("skip", "replace"):
        started = processes.spawn(_train, (mode, str(tmp_path / mode)), nprocs=2, join=False)
        end = time.monotonic() + 50
        while not started.join(timeout=1):
            assert time.monotonic() < end, "the ranks wait for each other"


@pytest.mark.timeout(60)
def test_sizes_are_read_and_changed_together(tmp_path):
    """By threads that describe files which change just then: the two sides always belong together."""
    from concurrent.futures import ThreadPoolExecutor

    paths = [tmp_path / f"{k}.png" for k in range(4)]
    sizes = [(20, 31), (45, 64), (7, 90)]
    contents = [corpus.encoded(corpus.photo(width, height), "PNG") for height, width in sizes]
    for path in paths:
        path.write_bytes(contents[0])
    source, ids, wrong, stop = (
        open_source([(str(p), 0) for p in paths]),
        np.arange(4),
        [],
        time.monotonic() + 2,
    )

    def change() -> None:
        for k in range(10**9):
            if time.monotonic() > stop:
                return
            temporary = tmp_path / "new"
            temporary.write_bytes(contents[k % 3])
            os.replace(temporary, paths[k % 4])

    def describe() -> None:
        while time.monotonic() < stop:
            found = source.describe(Ticket.of(ids))
            pairs = set(zip(found.height.tolist(), found.width.tolist(), strict=True))
            if not found.faults and not pairs <= set(sizes):
                wrong.append(pairs)

    with ThreadPoolExecutor(4) as pool:
        for work in [pool.submit(change), *(pool.submit(describe) for _ in range(3))]:
            work.result()
    assert wrong == []


# ---- short runs of the long ones ----


@pytest.mark.release
@pytest.mark.timeout(150)
@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        ("fuzz.py", ["--files", "300", "--first", "50000"], "no process died or hung"),
        ("soak.py", ["--batches", "300", "--no-pace"], "ok  memory grew by"),
        ("soak.py", ["--batches", "300", "--no-pace", "--on-error", "skip"], "ok  threads go"),
    ],
)
def test_long_runs_in_short(script, options, words):
    command = [sys.executable, Path(__file__).parent.parent / "benchmarks" / script, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=140)
    assert done.returncode == 0, done.stdout + done.stderr
    assert words in done.stdout


def _jpeg_2000(tile_height: int = 48, cut: int | None = None) -> bytes:
    data = bytearray(corpus.encoded(corpus.photo(64, 48), "JPEG2000"))
    at = data.index(b"\xff\x4f\xff\x51") + 4
    data[at + 24 : at + 28] = tile_height.to_bytes(4, "big")
    return bytes(data[: cut and at + cut])


@pytest.mark.parametrize(
    "data",
    [_jpeg_2000(0), _jpeg_2000(2**32 - 1)[:-1] + b"\0", _jpeg_2000(cut=60)],
    ids=["no tile height", "huge tiles", "header cut off"],
)
def test_jpeg_2000_that_would_end_dalis_process_goes_to_pillow(data):
    pairs = [(_jpeg_2000(), 0), (data, 1)]
    with fa.loader(pairs, 2, augment=EVAL, on_error="skip", max_bad=None) as loader:
        for _ in range(20):
            assert next(iter(loader))[1].tolist()[0] == 0
        assert all(reason.startswith(("damaged", "no readable")) for reason in loader.bad_files.values())
