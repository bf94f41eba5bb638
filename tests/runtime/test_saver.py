"""A checkpoint is finished while training goes on, and is what it was when it was asked for."""

import errno
import os
import threading
from collections import Counter

import pytest
import torch

from runtime.errors import UserError
from runtime.training import checkpoint

STEPS = (1, 2)


class Weights:
    """An engine of one weight, as far as it is saved."""

    def __init__(self):
        self.weight = torch.zeros(1000)

    def save(self, folder):
        folder.mkdir(parents=True)
        torch.save(self.weight, folder / "weights.pt")

    def load(self, folder):
        self.weight = torch.load(folder / "weights.pt")


@pytest.fixture
def held(monkeypatch):
    """Checksums wait until this is set."""
    release, original = threading.Event(), checkpoint.write_manifest
    monkeypatch.setattr(checkpoint, "write_manifest", lambda folder: (release.wait(20), original(folder)))
    yield release
    release.set()


def test_training_goes_on_while_a_checkpoint_is_finished(tmp_path, held):
    saver, engine = checkpoint.Saver(tmp_path, keep=2), Weights()
    saver.save(1, {"engine": engine}, {"step": 1})
    assert not (tmp_path / "step_00000001").exists()
    engine.weight += 1  # the next step
    following = threading.Thread(target=saver.save, args=(2, {"engine": engine}, {"step": 2}))
    following.start()
    following.join(0.2)
    assert following.is_alive()  # it waits for its turn
    assert not list(tmp_path.glob(".step_00000002*"))
    held.set()
    following.join(20)
    saver.wait()
    for step in reversed(STEPS):
        assert checkpoint.resume(tmp_path, {"engine": engine}) == {"step": step}
        assert engine.weight.eq(step - 1).all()
        (tmp_path / f"step_{step:08}" / checkpoint.STATE).unlink()


def test_a_disk_that_fails_meanwhile_ends_the_run_in_one_line(tmp_path, monkeypatch):
    saver, engine = checkpoint.Saver(tmp_path, keep=2), Weights()
    saver.save(1, {"engine": engine}, {"step": 1})
    saver.wait()
    monkeypatch.setattr(checkpoint, "flush", fail)
    saver.save(2, {"engine": engine}, {"step": 2})
    with pytest.raises(UserError, match=r"no checkpoint could be written to .* \(No space left on device\); make room"):
        saver.save(3, {"engine": engine}, {"step": 3})
    assert [path.name for path in tmp_path.glob("*step_*")] == ["step_00000001"]
    assert checkpoint.find_damage(tmp_path / "step_00000001") is None


def fail(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_each_file_is_read_once_for_its_checksum(tmp_path, monkeypatch):
    read, original = Counter(), checkpoint.sha256
    monkeypatch.setattr(checkpoint, "sha256", lambda path: (read.update([path.name]), original(path))[1])
    saver = checkpoint.Saver(tmp_path, keep=1)
    for step in STEPS:
        saver.save(step, {"engine": Weights()}, {"step": step})
    saver.wait()
    assert read == {"weights.pt": len(STEPS), checkpoint.STATE: len(STEPS)}
