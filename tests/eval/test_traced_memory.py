"""Traced peaks against what a real step takes of this machine's memory, and against how they must grow."""

import subprocess
import sys
from pathlib import Path

import pytest

from eval.costs.pseudo_dit import HEADS, Reading, trace

ROOT = Path(__file__).parents[2]

# A process of its own, which gives freed memory back at once. Resident pages before and at most, small steps behind it:
# what libraries keep, and the files that they map, are there by then.
REAL_STEP = """
import torch
from eval.measures.counting import train_one_step
from runtime.memory import process_memory
{definitions}

torch.set_num_threads(1)
train_one_step(build_small, small_loss)
before = process_memory("VmRSS")
train_one_step(build, loss)
print(process_memory("VmHWM") - before)
"""

PSEUDO_DIT = """
from eval.costs.pseudo_dit import pseudo_dit, step_loss
build = lambda: pseudo_dit(4)
loss = lambda model: step_loss(model, 2000)
build_small, small_loss = lambda: pseudo_dit(1), lambda model: step_loss(model, 8)
"""

VIDTWIN = """
from autoencoder.model import VidTwin
from autoencoder.config import VidTwinConfig

def config(side, dim):
    return VidTwinConfig(frames=16, height=side, width=side, patch=(1, 16, 16), dim=dim, num_heads=4, encoder_depth=2,
                         decoder_depth=2, qformer_depth=2)

def loss_of(side):
    def loss(model):
        video = torch.zeros(1, 3, 16, side, side)
        reconstruction, posterior = model(video)
        return (reconstruction - video).abs().mean() + posterior.kl()
    return loss

build, loss = lambda: VidTwin.from_config_fields(config(224, 256)), loss_of(224)
build_small, small_loss = lambda: VidTwin.from_config_fields(config(32, 64)), loss_of(32)
"""


def real_peak(definitions: str) -> int:
    """Bytes that a step adds to a process at most."""
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    environment |= {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    command = [sys.executable, "-W", "ignore", "-c", REAL_STEP.format(definitions=definitions)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment)
    return int(done.stdout)


def traced_peak(definitions: str) -> int:
    source = f"import torch\nfrom eval.measures.counting import traced_memory\n{definitions}"
    command = [sys.executable, "-W", "ignore", "-c", f"{source}\nprint(traced_memory(build, loss))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    return int(done.stdout)


@pytest.mark.full
@pytest.mark.parametrize("definitions", [PSEUDO_DIT, VIDTWIN], ids=["pseudo-DiT", "VidTwin"])
def test_traced_peaks_are_the_allocators(definitions):
    """To 5 %: pages are whole, and products have work space that is no tensor."""
    assert traced_peak(definitions) == pytest.approx(real_peak(definitions), rel=0.05)


def test_plain_attention_keeps_the_scores_and_fused_attention_does_not():
    first, second, third = (trace(n, Reading(1, 1, "fused")) for n in (3000, 4000, 6000))
    assert (third - second) / (second - first) == pytest.approx(2, rel=0.01)
    scores = HEADS * 3000**2 * 4
    assert 1 < (trace(3000, Reading(1, 1, "plain")) - first) / scores < 4
