"""What a project takes, against closed forms and what a real small run leaves on disk."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autoencoder.cache import CacheConfig
from autoencoder.stage1.config import Stage1Config
from data.latents import LatentCache
from data.latents.clips import ClipChoice
from eval.costs.dataset import by_length, by_number
from eval.costs.disk import cache_bytes, run_bytes
from eval.costs.hardware import GPUS, Cluster
from eval.costs.project import with_epochs
from eval.costs.shares import ASSUMED, Share, shares_of
from eval.costs.stages import Source, Training, caching_work, training_work
from eval.costs.traffic import bytes_sent
from eval.plan import main
from runtime.config import load
from runtime.engine.config import EngineConfig
from runtime.errors import UserError
from runtime.training.loop import LoopConfig

CONFIGS = Path(__file__).parents[2] / "configs"
DEMO = [str(CONFIGS / "stage1" / "demo.yaml"), str(CONFIGS / "stage2" / "demo.yaml")]
BF16 = ["--stage1.engine.precision", "bf16", "--stage2.engine.precision", "bf16"]
HALF = Share(0.5, "given")
NO_READING = Source(0.0, None)


def cluster(gpus: int = 1, **changes: float) -> Cluster:
    return Cluster(GPUS["H100"], gpus, 8, **{"network": 50e9, "disk": 2e9} | changes)


def training(steps: int = 1000, batch: int = 1024, **changes: object) -> Training:
    loop = LoopConfig(steps=steps, batch_size=batch, save_every=0)
    return replace(Training("stage1", 1e12, 10**9, EngineConfig(), loop, checkpoint=0), **changes)


def test_computing_takes_flops_over_the_share_of_the_peak():
    work = training_work(training(), cluster(), HALF, NO_READING, 1)
    seconds = 1000 * 1024 * 1e12 / (0.5 * 989e12)
    assert work.hours == pytest.approx(seconds / 3600)
    assert work.gpu_hours == work.hours
    assert work.efficiency == 1
    assert work.clips_per_second == pytest.approx(0.5 * 989)


def test_twice_the_clips_take_twice_the_hours():
    def hours(clips: int) -> float:
        loop = with_epochs(training().loop, 8, clips)
        return training_work(training(loop=loop), cluster(8), HALF, NO_READING, 1).hours

    assert hours(2 * 1024) == pytest.approx(2 * hours(1024))
    cached = [caching_work(clips, 1e12, cluster(8), HALF, Source(1e6, 100.0)).hours for clips in (500, 1000)]
    assert cached[1] == pytest.approx(2 * cached[0])


def test_without_epochs_the_configurations_steps_stay():
    assert with_epochs(training().loop, None, 5) == training().loop
    assert with_epochs(training().loop, 1.5, 2048).steps == 3


def test_one_gpu_sends_nothing_and_many_send_what_the_zero_stage_says():
    """Of n parameters in bf16, to 7 others: see Rajbhandari et al., arXiv 1910.02054, section 7."""
    n, share = 8000, 7 / 8

    def sent(stage: int, processes: int = 8, micro_batches: int = 1) -> float:
        return bytes_sent(n, EngineConfig(zero_stage=stage, precision="bf16"), processes, micro_batches)

    assert all(sent(stage, processes=1) == 0 for stage in (1, 2, 3))
    assert sent(1) == share * n * (2 * 4 + 2)  # an all-reduce of float32 gradients, a gathering of weights
    assert sent(2) == share * n * (2 + 2)
    assert sent(2, micro_batches=3) == share * n * (3 * 2 + 2)
    assert sent(3) == share * n * (2 + 2 * 2)  # half as much again as stage 2
    assert sent(3) == 1.5 * sent(2)
    assert training_work(training(), cluster(), HALF, NO_READING, 1).communication == 0


def test_past_one_machine_the_network_is_the_ring():
    inside = training_work(training(), cluster(8), HALF, NO_READING, 1)
    across = training_work(training(), cluster(1024), HALF, NO_READING, 1)
    assert inside.communication == pytest.approx(1000 * inside.sent / 450e9 / 3600)
    assert across.communication == pytest.approx(1000 * across.sent / 50e9 / 3600)
    assert across.compute == pytest.approx(inside.compute / 128)
    assert across.efficiency < inside.efficiency < 1


def test_data_counts_where_it_is_slower():
    fast, slow = Source(1e6, 1e9), Source(1e6, 100.0)
    work = training_work(training(), cluster(), HALF, slow, 1)
    assert work.hours == pytest.approx(1000 * 1024 / 100 / 3600)
    assert work.read == pytest.approx(100 * 1e6)  # bytes a second
    free = training_work(training(), cluster(), HALF, fast, 1)
    assert free.hours == free.compute
    disk = training_work(training(), cluster(disk=1e6), HALF, fast, 1)
    assert disk.hours == pytest.approx(1000 * 1024 / 3600)


def test_checkpoints_are_written_as_often_as_the_loop_says():
    loop = replace(training().loop, save_every=300)
    work = training_work(training(loop=loop, checkpoint=8 * 10**9), cluster(), HALF, NO_READING, 1)
    assert work.checkpoints == pytest.approx(4 * 4 / 3600)  # four of 8 GB at 2 GB/s
    assert work.hours == pytest.approx(work.compute + work.checkpoints)


def test_recomputed_activations_take_a_third_more():
    again = training(engine=EngineConfig(checkpoint_activations=True))
    plain, longer = (training_work(each, cluster(), HALF, NO_READING, 1).hours for each in (training(), again))
    assert longer == pytest.approx(plain * 4 / 3)


@pytest.mark.parametrize("split", ["train", "test"])
def test_latents_take_what_the_cache_of_a_real_run_takes(stage1_run, split):
    folder = stage1_run / "latents" / split
    cache = LatentCache(folder)
    config = CacheConfig(shard_size=cache.shard_size, precision=cache.manifest["precision"])
    real = sum(file.stat().st_size for file in folder.glob("shard_*"))
    assert cache_bytes(load(Stage1Config, stage1_run / "config.yaml").model, config, len(cache)) == real


def test_a_run_keeps_checkpoints_weights_and_snapshots():
    loop = LoopConfig(steps=100, keep=3, ema_widths=(0.05, 0.1), snapshot_every=50)
    found = run_bytes(1000, 800, EngineConfig(precision="bf16"), loop)
    assert found["checkpoints"] == 5 * 1000 * (2 + 12 + 2 * 4)
    assert found["weights"] == 2 * 4 * 800
    assert found["snapshots"] == 2 * 2 * 2 * 800


def test_clips_of_videos_of_a_length_are_those_of_the_cache():
    whole = ClipChoice(16, 8.0, "all", False, 0)
    assert by_length(10, 1.8, whole, 1e6).clips == 10  # a window is 15 / 8 s from first frame to last
    assert by_length(10, 8.0, whole, 1e6).clips == 10 * 5  # the last is aligned to the end
    assert by_length(10, 8.0, replace(whole, flipped=True), 1e6).clips == 10 * 10
    assert by_length(10, 8.0, replace(whole, clips_per_video=3), 1e6).clips == 10 * 3
    assert by_number(7, 2e6).bytes == 14e6
    with pytest.raises(UserError, match="has no frame"):
        by_length(10, 0.01, whole, 1e6)


def check_json(path: Path, device: str) -> Path:
    rates = {"step": 400e12, "forward": 600e12, "step-stage2": 300e12}
    rows = [{"name": name, "figures": {"flop_rate": rate}} for name, rate in rates.items()]
    path.write_text(json.dumps({"device": device, "rows": [*rows, {"name": "tests", "figures": {}}]}))
    return path


def test_shares_are_said_measured_or_assumed(tmp_path):
    said = {"stage1": 0.25, "cache": None, "stage2": None}
    measured = shares_of(GPUS["H100"], said, check_json(tmp_path / "check.json", "NVIDIA H100 80GB HBM3"))
    assert measured["stage1"] == Share(0.25, "given")
    assert measured["cache"].value == pytest.approx(600 / 989)
    assert "measured on NVIDIA H100" in measured["stage2"].source
    assumed = shares_of(GPUS["H100"], dict.fromkeys(said), None)
    assert {each.value for each in assumed.values()} == {ASSUMED}
    assert all("assumed" in each.source for each in assumed.values())
    with pytest.raises(UserError, match="not on H100"):
        shares_of(GPUS["H100"], said, check_json(tmp_path / "other.json", "NVIDIA A100-SXM4-80GB"))
    assert GPUS["RTX4090"].is_called("NVIDIA GeForce RTX 4090")


def test_the_script_plans_the_demo_and_writes_json(tmp_path, capsys):
    out = tmp_path / "new" / "plan.json"
    options = ["--clips", "960", "--gpus", "2", "--stage1_epochs", "3", "--stage2_share", "0.3", "--price", "2"]
    assert main([*DEMO, *BF16, *options, "--output", str(out)]) == 0
    content = json.loads(out.read_text())
    stage1, caching, stage2 = content["parts"]
    assert stage1["clips"] == 3 * 960
    assert caching["clips"] == 960
    assert stage2["clips"] == 2500 * 24
    assert stage2["compute"] == pytest.approx(stage2["clips"] * stage2["flops"] / (2 * 989e12 * 0.3) / 3600)
    assert content["gpu_hours"] == pytest.approx(2 * content["hours"])
    assert content["memory"]["stage1"]["micro_batches"] == 1
    said = capsys.readouterr().out
    assert "assumed" in said
    assert "a GPU-hour" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--clips", "10"], "bf16"),
        (["--clips", "10", *BF16, "--gpus", "16"], "cannot be split over 16 processes"),
        (["--clips", "10", *BF16, "--gpus", "12"], "do not fill machines of 8"),
        (["--clips", "10", "--videos", "3"], "not allowed with"),
        (["--clips", "0"], "--clips must be positive"),
        (["--clips", "10", "--stage1.loop.stepz", "9"], "stepz"),
        (["--clips", "10", "--speed", "9"], "unrecognized arguments: --speed"),
        (["--clips", "10", "--measured", "nowhere.json", *BF16], "is no check.json"),
        (["--data", "nowhere", *BF16], "there is no folder nowhere"),
        (["--clips", "10", *BF16, "--cache_share", "1.5"], "at most 1"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(capsys, options, message):
    assert main([*DEMO, *options]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1]
