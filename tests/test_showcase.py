"""What comes with the project is used where nothing is named, and is what its folder says."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from autoencoder import reconstruct
from autoencoder.model import VidTwin
from data.video.frames import probe, write_video
from eval.twins.reader import PROBES, load_reader
from runtime.models import SHOWCASE, autoencoder_in
from runtime.weights import load_model
from tests.conftest import clean_environment
from tests.documents import ROOT
from tests.small_pipeline import make_pipeline

STATISTICS = ("_mean", "_std")  # of the latents, by which a generator normalises them


def test_its_probes_read_its_own_latents():
    folder = autoencoder_in(SHOWCASE)
    model = load_model(VidTwin, folder)
    reader = load_reader(folder, model)
    read = reader(model.encode(torch.zeros(1, 3, *model.typed_config.video_shape)).mode())
    assert read["structure"]["motion"].shape == (len(reader.classes),)
    # Where the sprite is, dynamics say and structure does not.
    assert reader.quality["dynamics"]["position in each frame"] > 0.8
    assert reader.quality["structure"]["position in each frame"] < 0.2


def test_a_video_is_taken_apart_by_the_showcase(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "wide.mp4", torch.randint(256, (18, 36, 90, 3), dtype=torch.uint8), 8)
    assert reconstruct.main(["wide.mp4"]) == 0
    size = load_model(VidTwin, autoencoder_in(SHOWCASE)).typed_config
    info = probe(tmp_path / "wide-vidtwin.mp4")
    assert (info.frames, info.height, info.width) == (18, size.height, 4 * size.width)
    assert f"the middle of 90×36 pixels, at {size.width}×{size.height}" in capsys.readouterr().out


def test_the_showcase_is_small_and_tells_nothing_of_where_it_was_made():
    files = [file for file in SHOWCASE.rglob("*") if file.is_file()]
    assert SHOWCASE / "README.md" in files
    assert sum(file.stat().st_size for file in files) <= 20e6
    for file in files:
        match file.suffix:
            case ".safetensors":
                exact = {name for name, tensor in load_file(file).items() if tensor.dtype != torch.bfloat16}
                assert file.name == PROBES or all(name.endswith(STATISTICS) for name in exact)
            case ".json":
                assert '_name_or_path": "/' not in file.read_text()


@pytest.fixture
def project(tmp_path):
    """The project's code without what comes along."""
    for package in ROOT.glob("*/__init__.py"):
        (tmp_path / package.parent.name).symlink_to(package.parent)

    def sampled() -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "generator.sample", "--num", "2"],
            cwd=tmp_path,
            env=clean_environment() | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return tmp_path, sampled


def test_without_the_showcase_one_line_says_so_and_with_a_generator_in_it_that_is_sampled(project):
    place, sampled = project
    done = sampled()
    assert done.returncode == 2
    assert done.stderr.startswith("error: weights/showcase, which is used where no weights are named, is not there")
    assert done.stderr.count("\n") == 1
    make_pipeline().save_pretrained(place / "weights/showcase")
    done = sampled()
    assert done.returncode == 0, done.stderr
    assert (place / "runs/showcase/samples/grid.png").is_file()
