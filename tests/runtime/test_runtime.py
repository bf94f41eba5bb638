"""Schedule, average, checkpoints on disk, metrics file, seeds."""

import json
import math

import pytest
import torch

from runtime.engine.config import EngineConfig
from runtime.engine.engine import Engine
from runtime.engine.optimizer import OptimizerConfig
from runtime.engine.schedule import warmup_cosine
from runtime.errors import UserError
from runtime.lock import lock
from runtime.random import generator
from runtime.script import script
from runtime.training import checkpoint
from runtime.training.ema import EMA, exponential_decay
from runtime.training.tracker import drop_lines_after


def test_schedule_at_its_corners():
    assert warmup_cosine(0, 10, 110) == pytest.approx(0.1)
    assert warmup_cosine(9, 10, 110) == warmup_cosine(10, 10, 110) == 1.0
    assert warmup_cosine(60, 10, 110) == pytest.approx(0.5)
    assert warmup_cosine(110, 10, 110, final=0.1) == pytest.approx(0.1)


@pytest.mark.parametrize("stage", [0, 1])
def test_average_is_its_closed_form(processes, stage):
    """Weights that go to 1 in the first step and stay there."""
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(module.weight)
    engine = Engine(module, OptimizerConfig(), EngineConfig(zero_stage=stage, precision="fp32", accumulation=1), 1, 1)
    ema = EMA(engine, torch.nn.Linear(1, 1, bias=False), exponential_decay(0.9))
    engine.set_master_weights({"weight": torch.ones(1, 1)})
    for _ in range(200):
        ema.update()
    remaining = math.prod(min(0.9, (1 + n) / (10 + n)) for n in range(200))
    with ema.whole() as averaged:
        assert averaged.weight.item() == pytest.approx(1 - remaining, abs=1e-6)
    assert averaged.weight.is_meta
    assert dict(engine.master_weights())["weight"].item() == 1
    again = EMA(engine, torch.nn.Linear(1, 1, bias=False), exponential_decay(0.9))
    again.load_state_dict(ema.state_dict())
    assert again.updates == 200
    assert all(map(torch.equal, again.shares, ema.shares))


class Share:
    """A stand-in for an engine: one tensor."""

    def __init__(self, value):
        self.value = torch.tensor(value)

    def save(self, folder):
        folder.mkdir(parents=True)
        torch.save(self.value, folder / "share.pt")

    def load(self, folder):
        self.value = torch.load(folder / "share.pt")


def written(root):
    saver = checkpoint.Saver(root, keep=2)
    for step in (1, 2, 3):
        saver.save(step, {"engine": Share(step)}, {"step": step})
    saver.wait()
    return root


def damage(root):
    return {
        "cut": lambda: (root / "step_00000003/state.pt").write_bytes(b"x"),
        "bit": lambda: flip(root / "step_00000003/engine/share.pt"),
        "missing": lambda: (root / "step_00000003/engine/share.pt").unlink(),
        "unmarked": lambda: (root / "step_00000003/manifest.json").unlink(),
    }


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_last_checkpoints_stay_and_the_newest_is_loaded(tmp_path):
    written(tmp_path)
    assert sorted(p.name for p in tmp_path.glob("step_*")) == ["step_00000002", "step_00000003"]
    assert (tmp_path / "latest").read_text().strip() == "step_00000003"
    engine = Share(0)
    assert checkpoint.resume(tmp_path, {"engine": engine}) == {"step": 3}
    assert engine.value == 3


@pytest.mark.parametrize("kind", ["cut", "bit", "missing", "unmarked"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, kind, capsys):
    damage(written(tmp_path))[kind]()
    engine = Share(0)
    assert checkpoint.resume(tmp_path, {"engine": engine}) == {"step": 2}
    assert engine.value == 2
    assert "step_00000003 is damaged" in capsys.readouterr().out


def test_an_empty_latest_changes_nothing(tmp_path):
    (written(tmp_path) / "latest").write_text("")
    engine = Share(0)
    assert checkpoint.resume(tmp_path, {"engine": engine}) == {"step": 3}


def test_the_best_checkpoint_stays(tmp_path):
    saver = checkpoint.Saver(tmp_path, keep=1)
    for step in range(1, 6):
        saver.save(step, {"engine": Share(step)}, {"step": step}, best=step == 2)
    saver.wait()
    assert sorted(place.name for place in tmp_path.glob("step_*")) == ["step_00000002", "step_00000005"]


def test_no_whole_checkpoint_is_an_error_and_none_at_all_a_fresh_start(tmp_path):
    assert checkpoint.resume(tmp_path, {}) is None
    for place in written(tmp_path).glob("step_*"):
        (place / "state.pt").unlink()
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint.resume(tmp_path, {})


def test_metrics_of_lost_steps_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps({"step": s}) + "\n" for s in (1, 2, 3)) + '{"step": 3, "lo')
    drop_lines_after(path, 2)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2]


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    held = lock(tmp_path / ".lock")
    with pytest.raises(UserError, match="another run"):
        lock(tmp_path / ".lock")
    held.close()


def test_generators_are_named_by_purpose_and_numbers():
    def draw(*name):
        return torch.rand(3, generator=generator(*name)).tolist()

    assert draw("clip", 0, 1) == draw("clip", 0, 1)
    assert (
        len({tuple(draw(*name)) for name in (("clip", 0, 1), ("clip", 1, 0), ("order", 0, 1), ("clip", 0, 1, 0))}) == 4
    )


def test_scripts_say_a_users_mistake_in_one_line(capsys):
    @script
    def main(argv):
        raise UserError("the first line\nand the second")

    assert main([]) == 2
    assert capsys.readouterr().err == "error: the first line and the second\n"
