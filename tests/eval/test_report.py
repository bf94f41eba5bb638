"""A run is measured, and measured once; what the page is made of is what there is."""

import json
import shutil

import pytest
import torch
from safetensors.torch import save_file

from data.video.frames import probe, write_video
from eval.report import main, open_autoencoder
from runtime import distributed
from runtime.files import write_json


def test_the_autoencoder_is_where_the_classifier_goes(stage1_run, monkeypatch):
    monkeypatch.setattr(distributed, "device", lambda: torch.device("meta"))
    assert {tensor.device.type for tensor in open_autoencoder(stage1_run).state_dict().values()} == {"meta"}


@pytest.fixture
def run(stage1_run, tmp_path):
    return shutil.copytree(stage1_run, tmp_path / "run")


def put_samples(run, classes, each):
    """Noise that claims to be of these classes."""
    folder = run / "samples"
    folder.mkdir()
    names = [f"{name}/{number:05}.mp4" for number, name in enumerate(classes * each)]
    numbers = torch.Generator().manual_seed(0)
    videos = torch.randint(256, (len(names), 4, 16, 16, 3), dtype=torch.uint8, generator=numbers)
    save_file({"videos": videos}, folder / "samples.safetensors")
    write_json(folder / "samples.json", {"videos": names})


def test_a_run_with_samples_is_measured_once_and_shown_by_class(run, capsys):
    put_samples(run, ["Drift", "Spin", "Blink"], each=10)
    assert main(["--run", str(run), "--classifier_steps", "3"]) == 0
    figures = json.loads((run / "evaluation/report.json").read_text())
    shares = figures["accuracy_by_class"]
    assert list(shares) == ["Drift", "Spin", "Blink"]
    assert figures["accuracy"]["generated"] == pytest.approx(sum(shares.values()) / 3)  # as many of each
    assert figures["rate"] == figures["values"] / (3 * 4 * 16 * 16)
    shown = json.loads((run / "evaluation/players/players.json").read_text())
    assert [(each["class"], each["made"]) for each in shown["samples"]] == [("Drift", 10), ("Spin", 10), ("Blink", 10)]
    tiles = probe(run / "evaluation/players" / shown["samples"][0]["file"])
    assert (tiles.width, tiles.height) == (4 * 144, 2 * 144)  # two rows of four, each pixel nine times as wide
    page = (run / "report.html").read_text()
    assert page.count("<video") == len(shown["parts"]) + len(shown["swaps"]) + 3
    assert "of 10 right" in page

    capsys.readouterr()
    assert main(["--run", str(run), "--classifier_steps", "3"]) == 0
    assert "not measured again" in capsys.readouterr().out
    assert (run / "report.html").read_text() == page
    assert main(["--run", str(run), "--classifier_steps", "3", "--max_videos", "2"]) == 0
    assert json.loads((run / "evaluation/report.json").read_text())["clips"] == 2


def test_videos_without_classes_and_a_run_without_a_generator(run, tmp_path):
    (tmp_path / "data").mkdir()
    for number in range(3):
        write_video(tmp_path / f"data/{number}.mp4", torch.full((8, 24, 24, 3), 60 * number, dtype=torch.uint8), 8)
    assert main(["--run", str(run), "--data", str(tmp_path / "data")]) == 0
    figures = json.loads((run / "evaluation/report.json").read_text())
    assert figures.keys() >= {"psnr", "ssim", "rate"}
    assert "accuracy" not in figures
    page = (run / "report.html").read_text()
    assert 'id="latents"' in page
    assert 'id="samples"' not in page
    assert "make stage2 RUN=run" in page


def test_a_folder_without_weights_is_named(tmp_path, capsys):
    assert main(["--run", str(tmp_path)]) == 2
    assert "holds no trained autoencoder" in capsys.readouterr().err
