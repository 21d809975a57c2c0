"""A run, from its description to its last checkpoint."""

from __future__ import annotations

import dataclasses
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ..plan.batch_plan import BatchPlan
from . import checkpoint
from .advice import advise
from .arrays import Splits
from .config import LAST, Config
from .data import find_splits, make_loaders
from .distributed import Group, is_first, join, leave, share_of_cores
from .evaluate import Accuracy, evaluate
from .folder import RunFolder
from .logs import Log, Record, best
from .networks import check_fit, freeze_batch_norms, input_statistics, load_pretrained, make_network
from .optimisers import make_average, make_optimizer, make_schedule, restore_optimizer, update_average
from .plots import has_pictures, plot_run
from .settings import resolve
from .signals import Interrupted, Signals

REMEDY = "A lower --lr, --clip-grad 1 or a longer --warmup-epochs usually helps"


def train(config: Config) -> list[Record]:
    """Carries out a run.

    Args:
        config: what to do; choices left open are made by ``settings.resolve`` and printed.

    Returns:
        A record for each epoch: epoch, steps (so far), lr (of the last step), train_loss, train_accuracy,
        test_loss, test_accuracy, test_top5 (shares of 1), train_images, test_images (what they are measured
        on), check_loss (of the same training images), train_chance, test_chance (accuracy of naming the
        largest class for all of them), top_lr, images_per_s (of all processes), data_wait (share of the
        time), seconds.

    Raises:
        ValueError, TypeError, OSError: for wrong input, before training starts; OSError also when a
            checkpoint cannot be written.
        FloatingPointError: when the loss is not finite (the batch's plan and picture are saved), or what a
            checkpoint would hold (nothing is saved, so that the one before it stays).
        Interrupted: after SIGTERM or SIGINT, when all is saved.
    """
    config.check()
    folder = RunFolder(config.output, is_first())
    try:
        start = checkpoint.find(config.resume, config.output)
        saved = checkpoint.load(start) if start else None
        goes_on = start is not None and start.parent.resolve() == Path(config.output).resolve()
        folder.refuse_another_run(goes_on)
        splits = find_splits(config.data)
        group = join(config.device)
        run = None
        try:
            run = Run(config, splits, group, saved)
            return run.go(folder, goes_on)
        finally:
            if run is not None:
                run.close()
            leave(group)
    finally:
        folder.close()


class Run:
    """One process's part of a run.

    Args:
        config: what to do.
        splits: the images.
        group: this process among the others.
        saved: a checkpoint to go on from, or None.
    """

    def __init__(self, config: Config, splits: Splits, group: Group, saved: dict[str, Any] | None) -> None:
        self.config, self.group, self.folder = config, group, Path(config.output)
        self.classes, self.images, self.signals = splits.classes, len(splits.train), Signals(group)
        torch.manual_seed(config.seed)
        network = make_network(config.model, len(splits.classes))
        loaded = (
            load_pretrained(network, config.model, config.pretrained)
            if config.pretrained and not saved
            else ""
        )
        statistics = input_statistics(network)
        self.settings = settings = resolve(config, len(splits.train), group.world_size, statistics)
        workers = share_of_cores() if config.workers is None else config.workers
        self.tested_on = f"{len(splits.test)} ({splits.test.identity()['names'] or 'in memory'})"
        self.loaders = make_loaders(splits, config, settings, group.device, group.world_size, workers)

        layout = torch.channels_last if config.channels_last else torch.contiguous_format
        self.network = network.to(group.device).to(memory_format=layout)
        check_fit(network, config.model, config.size, len(splits.classes))
        self.forward: nn.Module = torch.compile(network) if config.compile else network  # type: ignore[assignment]
        self.model = DistributedDataParallel(self.forward) if group.world_size > 1 else self.forward
        self.average = make_average(network, config.ema)
        self.optimizer = make_optimizer(network, config, settings)
        self.steps = -(-len(self.loaders.train) // config.accumulate)  # optimizer steps an epoch
        self.rate = make_schedule(config, settings, self.steps)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=config.amp == "float16")
        half = getattr(torch, config.amp) if config.amp else None
        self.precision = torch.autocast(group.device.type, half) if half else nullcontext()

        self.epoch, self.step = 0, 0  # epochs finished; optimizer steps made
        self.sums = torch.zeros(2, dtype=torch.float64, device=group.device)  # of this epoch: loss, images
        self.history: list[Record] = []
        self.spent = [0.0, 0.0]  # seconds of this epoch's training before a stop, and of waiting for data
        self.confusion: torch.Tensor | None = None  # of the last epoch's test
        if saved:
            try:
                self._restore(saved)
            except (KeyError, TypeError, AttributeError, RuntimeError) as error:
                raise ValueError(
                    f"the checkpoint does not fit this run: {error!r}; resume from another"
                ) from error
        self.log = Log(group.first)
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        self.about = (
            f"{config.model}, {millions:.2f} million parameters; {len(splits.train)} images to train on, "
            f"{len(splits.test)} to test, {len(self.classes)} classes; {group.world_size} x {group.device}\n"
            f"{settings}"
        )
        if saved:
            changed = checkpoint.changes(saved, self._described())
            where = f"goes on at epoch {self.epoch}, step {self.step}"
            self.about += f"\n{where}, from now on with{changed}" if changed else f"\n{where}"
        elif loaded:
            self.about += f"\n{loaded}"

    def go(self, folder: RunFolder, goes_on: bool) -> list[Record]:
        """All epochs that are left; then curves and confusion matrix.

        Args:
            folder: where to write.
            goes_on: whether the run that it holds is this one.
        """
        self.log.say(self.about)
        if self.epoch >= self.config.epochs:
            self.log.say(
                f"all {self.config.epochs} epochs are done, so nothing is trained or changed; --epochs makes "
                "it longer"
            )
            if goes_on and self.group.first and not has_pictures(self.folder, self.confusion):
                try:  # a stop came before they were made; the disk may be read-only since
                    self._end()
                except OSError as error:
                    self.log.say(f"curves and confusion matrix cannot be written: {error}")
            return self.history
        self.group.together(lambda: folder.begin(goes_on))
        if self.group.first:
            dataclasses.replace(self.config, resume=None).save(self.folder)
        self.log.open(self.folder, self.config.epochs * self.steps, self.step, self.epoch)
        with self.signals:
            while self.epoch < self.config.epochs:
                record = self._train_epoch()
                trained = self._evaluate(self.loaders.check, self.epoch)
                self._stop_if_asked()
                tested = self._evaluate(self.loaders.test, 0)
                self._finish_epoch(record, trained, tested)
        if self.group.first:
            self._end()
        return self.history

    def _end(self) -> None:
        """What a finished run leaves beside its checkpoints."""
        self.log.metrics(self.folder, self.history)
        plot_run(self.history, self.confusion, self.classes, self.folder)

    def _train_epoch(self) -> Record:
        """Trains to the epoch's end, from where the loader is."""
        config, loader = self.config, self.loaders.train
        began, waited = time.monotonic() - self.spent[0], self.spent[1]
        self.model.train()
        if self.settings.freeze_bn:
            freeze_batch_norms(self.network)
        loader.set_epoch(self.epoch)
        batches = iter(loader)
        left = len(loader) - (self.step - self.epoch * self.steps) * config.accumulate
        recent: list[tuple[torch.Tensor, BatchPlan]] = []  # losses not looked at yet
        while left > 0:
            torch.manual_seed(self._step_seed())
            members = min(config.accumulate, left)
            for k in range(members):
                asked = time.monotonic()
                images, targets, plan = next(batches)
                waited += time.monotonic() - asked
                recent.append((self._backward(images, targets, members, last=k == members - 1), plan))
            left -= members
            done = self.step + 1
            saves = config.save_steps and done % config.save_steps == 0 and left > 0
            # A look makes the host wait for the GPU, so there it is not after every step.
            if looked := self.group.device.type == "cpu" or left <= 0 or self.step % 10 == 0 or saves:
                self._look(recent)
                seconds = time.monotonic() - began
                self.spent = [seconds, waited]
                speed = float(self.sums[1]) * self.group.world_size / seconds
                self.log.step(self.epoch, done, float(recent[-1][0]), speed, waited / seconds)
                recent.clear()
            self._update()
            if looked:
                self._stop_if_asked()
            if saves:
                self._save([LAST])
        self._check_finite()
        seconds, waited = self.spent
        loss, count = self.group.total(self.sums).tolist()
        return {
            "epoch": self.epoch,
            "steps": self.step,
            "lr": self.rate(self.step - 1),
            "top_lr": self.settings.lr,
            "train_loss": loss / count,
            "images_per_s": count / seconds,
            "data_wait": waited / seconds,
            "seconds": seconds,
        }

    def _backward(
        self, images: torch.Tensor, targets: torch.Tensor, members: int, last: bool
    ) -> torch.Tensor:
        """Adds a batch's gradients, averaged over ``members`` batches; gives its mean loss."""
        apart = isinstance(self.model, DistributedDataParallel) and not last
        with self.model.no_sync() if apart else nullcontext():  # type: ignore[operator]
            with self.precision:
                loss = F.cross_entropy(self.model(images), targets)
            self.scaler.scale(loss / members).backward()
        loss = loss.detach()
        self.sums += torch.stack([loss.double() * len(images), torch.full_like(loss, len(images)).double()])
        return loss

    def _update(self) -> None:
        """One optimizer step, at the schedule's rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(self.step)
        if self.config.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None and self.config.ema is not None:
            update_average(self.average, self.network, self.config.ema)
        self.step += 1

    def _look(self, recent: list[tuple[torch.Tensor, BatchPlan]]) -> None:
        """Stops every rank where one has a loss that is not finite, before the weights take it."""
        finite = torch.stack([loss for loss, _ in recent]).isfinite().tolist()
        if not self.group.any(not all(finite)):
            return
        where = f"at epoch {self.epoch}, step {self.step}"
        if all(finite):
            raise FloatingPointError(f"another rank's loss is not finite {where}; see its message")
        loss, plan = recent[finite.index(False)]
        name = self.folder / f"bad-batch-rank{self.group.rank}"
        plan.save(f"{name}.npz")
        self._picture(plan, f"{name}.png")
        raise FloatingPointError(
            f"the loss is {float(loss)} {where}; the batch is in {name}.npz (BatchPlan.load, loader.replay) "
            f"and {name}.png, and the checkpoint before it stays. {REMEDY}; look at the picture for damaged "
            "images"
        )

    def _check_finite(self) -> None:
        """Stops every rank where one's weights, average or optimizer are not finite, before they take a good
        checkpoint's place: the last step may have made them so, which no loss has shown yet."""
        bad = checkpoint.not_finite(self.network, self.average, self.optimizer)
        if not self.group.any(bool(bad)):
            return
        where = f"at epoch {self.epoch}, step {self.step}"
        if not bad:
            raise FloatingPointError(f"another rank's weights are not finite {where}; see its message")
        named = ", ".join(bad[:4]) + (f" and {len(bad) - 4} more" if len(bad) > 4 else "")
        raise FloatingPointError(
            f"not finite {where}: {named}; nothing is saved, so that a checkpoint before it stays. {REMEDY}"
        )

    def _picture(self, plan: BatchPlan, path: str) -> None:
        """The images of a batch as the network saw them, but for Normalize."""
        from torchvision.utils import save_image

        images = self.loaders.train.replay(plan)[0].float().cpu()
        mean, std = (torch.tensor(v).view(3, 1, 1) for v in (self.settings.mean, self.settings.std))
        save_image(images * std + mean, path)

    def _evaluate(self, loader: Any, epoch: int) -> Accuracy:
        network: nn.Module = self.average if self.average is not None else self.forward
        return evaluate(network, loader, epoch, len(self.classes), self.group, self.precision)

    def _finish_epoch(self, record: Record, trained: Accuracy, tested: Accuracy) -> None:
        """Logs an epoch with its advice, and saves last, best and every n-th."""
        record |= {
            "train_accuracy": trained.accuracy,
            "train_images": trained.images,
            "check_loss": trained.loss,
            "test_loss": tested.loss,
            "test_accuracy": tested.accuracy,
            "test_top5": tested.top5,
            "test_images": tested.images,
            "train_chance": self.loaders.check_chance,
            "test_chance": self.loaders.test_chance,
        }
        self.history.append(record)
        self.epoch += 1
        self.sums.zero_()
        self.spent = [0.0, 0.0]
        done = self.epoch == self.config.epochs
        self.confusion = tested.confusion if done else None
        names = [LAST]
        if best(self.history) is record:
            names.append(checkpoint.BEST)
        if self.config.keep_every and self.epoch % self.config.keep_every == 0:
            names.append(f"epoch-{self.epoch}.pt")
        self._save(names)
        self.log.epoch(self.folder, self.history)
        self.log.say(advise(self.history, self.settings, self.config).text(short=not done))

    # ---- stopping and going on ----

    def _stop_if_asked(self) -> None:
        if number := self.signals.sent():
            self._save([LAST])
            raise Interrupted(number, self.folder / LAST)

    def _save(self, names: list[str]) -> None:
        """Rank 0 writes a checkpoint, unless there is something not finite; the others wait for it."""
        self._check_finite()
        sums = self.group.total(self.sums)
        if self.group.first:
            state: dict[str, Any] = {
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "loader": self.loaders.train.state_dict(),
            }
            if self.average is not None:
                state["average"] = self.average.state_dict()
            state |= {"sums": sums, "epoch": self.epoch, "step": self.step, "history": self.history}
            state |= {"spent": self.spent, "confusion": self.confusion, "described": self._described()}
            checkpoint.save(state | {"identity": self._identity()}, self.folder, names)
        self.group.wait()

    def _restore(self, saved: dict[str, Any]) -> None:
        checkpoint.check_identity(saved, self._identity())
        if self.config.epochs * self.steps < saved["step"]:
            raise ValueError(
                f"--epochs {self.config.epochs} ends before the checkpoint, which has made {saved['step']} "
                f"steps of {self.steps} an epoch; give at least --epochs {-(-saved['step'] // self.steps)}"
            )
        loader = self.loaders.train  # another augmentation is no other place in the data
        loader.load_state_dict(saved["loader"] | {"augment": loader.state_dict()["augment"]})
        self.network.load_state_dict(saved["network"])
        restore_optimizer(self.optimizer, saved["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(saved["average"])
        if saved["scaler"]:  # the run was in float16 before
            self.scaler.load_state_dict(saved["scaler"])
        self.epoch, self.step, self.history = saved["epoch"], saved["step"], saved["history"]
        self.spent, self.confusion = saved["spent"], saved["confusion"]
        if self.group.first:  # the others' sums are in it
            self.sums.copy_(saved["sums"])

    def _described(self) -> dict[str, str]:
        return checkpoint.described(self.config, self.settings) | {"test_images": self.tested_on}

    def _identity(self) -> dict[str, Any]:
        """What a checkpoint must share with a run that goes on from it."""
        return {name: getattr(self.config, name) for name in checkpoint.KEPT} | {
            "averaged": self.average is not None,
            "classes": self.classes,
            "images": self.images,
            "images_a_step": self._images_a_step(),
            "steps": self.steps,
        }

    def _images_a_step(self) -> int:
        return self.config.batch_size * self.group.world_size * self.config.accumulate

    def _step_seed(self) -> int:
        """Of dropout, keyed by step and rank, so that a resumed run draws the same."""
        return ((self.config.seed * 1_000_003 + self.step) * 4096 + self.group.rank) % 2**63

    def close(self) -> None:
        """Ends threads and logs."""
        self.log.close()
        self.loaders.close()
