import json

from data.backends import available
from data.bench import main


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
