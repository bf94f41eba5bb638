import json
from dataclasses import replace

import torch

from data.bench import main
from data.latents import LatentCache
from data.latents import bench as latent_bench
from data.latents.bench import MEANS, PlainFile, write_sparse_cache
from data.video.backends import available
from runtime.memory import process_memory


def test_bench_measures_each_backend_and_worker_count(builtin_set, tmp_path, capsys):
    file = tmp_path / "bench.json"
    small = ["--clips", "8", "--batch-size", "4", "--frames", "4", "--size", "32", "32", "--workers", "0", "1"]
    assert main([str(builtin_set), *small, "--json", str(file)]) == 0
    rows = json.loads(file.read_text())
    assert [(row["backend"], row["workers"]) for row in rows] == [(b, w) for b in available() for w in (0, 1)]
    for row in rows:
        assert row["decoder"] > 0
        assert row["kept"] == row["path"] / row["decoder"]
    printed = capsys.readouterr().out
    assert all(name in printed for name in available())
    assert main([str(builtin_set), "--clips", "0"]) == 2


def test_reading_latents_is_measured_against_a_plain_file(tmp_path, capsys):
    file = tmp_path / "bench.json"
    assert main(["--latents", str(tmp_path), "--sizes", "1k", "--json", str(file)]) == 0
    [row] = json.loads(file.read_text())
    assert row["clips"] == 1000
    assert row["kept"] == row["cache"] / row["plain"]
    assert row["open_seconds"] < 0.5
    assert "1k" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [file]
    assert main(["--latents", str(tmp_path), "--sizes", "1k", "--clips", "0"]) == 2
    assert main([]) == 2


def test_opening_costs_no_more_for_many_clips(tmp_path):
    """Neither time nor memory that no file stands behind; every part of the cache can be read."""
    anonymous = []
    for clips in (2_000, 200_000):
        folder = tmp_path / str(clips)
        folder.mkdir()
        write_sparse_cache(folder, replace(latent_bench.SMALL, clips=clips))
        LatentCache(folder)
        before = process_memory("RssAnon")
        cache = LatentCache(folder)
        read = cache.read([0, clips // 2, clips - 1], MEANS)
        anonymous.append(process_memory("RssAnon") - before)
        assert read["structure_mean"][0].any()
        assert not read["structure_mean"][1].any()
        assert torch.equal(read["dynamics_mean"][2], cache.shard((clips - 1) // 512, MEANS)["dynamics_mean"][-1])
        PlainFile(cache).read(torch.arange(latent_bench.BATCH))
    assert anonymous[1] < anonymous[0] + 1_000_000
