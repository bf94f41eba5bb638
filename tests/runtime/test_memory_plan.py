"""What training needs of a device's memory, and the micro-batches that follow from it."""

import gc
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from runtime.engine.config import EngineConfig
from runtime.engine.engine import Engine
from runtime.engine.optimizer import OptimizerConfig
from runtime.errors import UserError
from runtime.memory import PeakMemory
from runtime.training.accumulation import choose, settle_accumulation
from runtime.training.loop import LoopConfig
from runtime.training.memory_plan import MemoryPlan, MicroBatch, States, TracedEngine, trace_micro_batch

STATES = States(weights=2, gradients=2, optimizer=12, average=4, step=6)  # 20 in all


def plan_of(share=24, first=5, further=3):
    """One clip takes 5, each further one 3."""
    return MemoryPlan(STATES, lambda clips: MicroBatch(1, first + (clips - 1) * further), share)


def test_a_micro_batch_needs_states_and_clips_or_what_the_optimizer_takes():
    assert [plan_of().needed(clips) for clips in (1, 2, 3, 24)] == [20 + 6, 20 + 8, 20 + 11, 20 + 74]
    assert plan_of(share=1).needed(1) == 26


@pytest.mark.parametrize(
    ("share", "budget", "accumulation"),
    [(24, 94, 1), (24, 93, 2), (24, 58, 2), (24, 57, 3), (24, 26, 24), (24, 25, None), (7, 40, 7), (1, 26, 1)],
)
def test_the_fewest_micro_batches_that_divide_the_share_and_fit(share, budget, accumulation):
    assert plan_of(share).fewest_micro_batches(budget) == accumulation


@dataclass(frozen=True)
class Run:
    run: str
    engine: EngineConfig = EngineConfig()
    loop: LoopConfig = LoopConfig(batch_size=24)


@pytest.mark.parametrize(
    ("before", "budget", "accumulation", "said"),
    [
        (None, 57, 3, "3 micro-batches a step, of 8 clips each"),
        (6, 94, 6, ""),  # as the run began, although one would do
        (2, 57, 3, "had need more memory than there is"),
        (5, 57, 3, "cannot share the 24 clips"),
        (6, None, 6, ""),
        (None, None, 1, ""),
    ],
)
def test_a_run_keeps_its_micro_batches_while_they_fit(tmp_path, capsys, before, budget, accumulation, said):
    if before is not None:
        (tmp_path / "config.yaml").write_text(f"engine: {{accumulation: {before}}}")
    assert choose("stage1", Run(str(tmp_path)), plan_of, budget) == accumulation
    printed = capsys.readouterr().out
    assert said in printed
    assert bool(said) == bool(printed)


def test_what_does_not_fit_is_one_line_with_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError) as error:
        choose("stage1", Run(str(tmp_path), EngineConfig(checkpoint_activations=True)), plan_of, 25)
    for option in ("--engine.zero_stage 2", "--engine.offload true"):
        assert option in str(error.value)
    assert "checkpoint_activations" not in str(error.value)


def test_a_number_stays_and_a_cpu_takes_the_batch_at_once(processes, tmp_path):
    def unasked():
        raise AssertionError("nothing is traced on a CPU")

    for accumulation, settled in ((4, 4), ("auto", 1)):
        config = Run(str(tmp_path), EngineConfig(accumulation=accumulation))
        assert settle_accumulation("stage1", config, unasked).engine.accumulation == settled


class Widening(nn.Module):
    """Linear maps with a GELU between them, of a bf16 step whose memory can be counted by hand."""

    def __init__(self, width, hidden):
        super().__init__()
        self.widen, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.narrow(nn.functional.gelu(self.widen(x)))


@pytest.mark.parametrize(("precision", "element"), [("bf16", 2), ("fp32", 4)])
def test_a_traced_micro_batch_is_the_count_by_hand(precision, element):
    n, width, hidden = 32, 64, 1024

    def build():
        engine = TracedEngine(Widening(width, hidden), EngineConfig(precision=precision))
        x = torch.empty(n, width, dtype=engine.module.widen.weight.dtype)
        return engine.module, lambda: engine.backward(engine(x).sum())

    traced = trace_micro_batch(build)
    # The input is there before; kept are the hidden layer before and after its GELU, and the output.
    assert traced.activations == element * n * (2 * hidden + width)
    # When the backward pass is at the hidden layer, its two gradients come together with a weight's on top of these.
    assert traced.peak > traced.activations + element * n * hidden


@pytest.mark.parametrize(("stage", "precision"), [(1, "bf16"), (1, "fp32"), (2, "bf16"), (0, "fp32")])
def test_states_are_what_an_engine_keeps(processes, stage, precision):
    """Counted over a real engine that has taken a step: weights and optimizer stay; so do stage 1's flat gradients."""
    config = EngineConfig(stage, precision, accumulation=1)
    with PeakMemory() as memory:
        engine = Engine(Widening(512, 2048), OptimizerConfig(), config, micro_batch=1, total_steps=2)
        engine.backward(engine(torch.ones(1, 512, dtype=config.dtype)).float().sum())
        engine.step()
        gc.collect()
    states = States.of(engine.parameters, config)
    kept = states.weights + states.optimizer + (states.gradients if stage == 1 else 0)
    assert memory.current == pytest.approx(kept, rel=0.02)
