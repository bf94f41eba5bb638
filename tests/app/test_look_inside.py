"""Pictures of latents show their values, and readings are those of the probes that the evaluation measures."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from app.maps import coloured, draw_dynamics, draw_structure
from app.readings import SHOWN, drawn_path, table, true_cells
from autoencoder.model import VidTwin
from data.latents import LatentCache, TwinLatents
from data.synthetic.factors import read_factors
from eval import probes
from eval.report import open_clips
from eval.twins.factors import factors_of
from eval.twins.probes import probe as measure_probes
from eval.twins.probes import read_clips
from eval.twins.reader import PROBES, fit_reader, load_reader
from runtime.errors import UserError
from runtime.progress import track
from runtime.weights import load_model, save_model


def test_colours_are_the_sign_and_opacity_the_size():
    values = torch.tensor([[0.0, 1.0, -1.0, 0.5, -0.25]])
    found = coloured(values)
    assert found[0, :, 3] == pytest.approx([0, 1, 1, 0.5, 0.25], abs=0.03)
    assert np.array_equal(found[0, 1, :3], found[0, 3, :3])
    assert np.array_equal(found[0, 2, :3], found[0, 4, :3])
    assert found[0, 1, 0] > found[0, 1, 2]  # orange
    assert found[0, 2, 0] < found[0, 2, 2]  # blue


def test_pictures_have_what_is_loud_and_leave_the_rest_free(tmp_path):
    video, dynamics = torch.zeros(3, 4, 16, 16), torch.zeros(2, 4, 6)
    dynamics[1, 2] = 5.0
    draw_dynamics(video, dynamics, tmp_path / "d.png")
    picture = np.asarray(Image.open(tmp_path / "d.png").convert("RGBA")).astype(int)
    orange = (picture[..., 3] > 200) & (picture[..., 0] > 200) & (picture[..., 2] < 100)
    rows, columns = np.nonzero(orange)
    assert len(rows) > 1000
    assert 0.5 < columns.mean() / picture.shape[1] < 0.75  # the third of four moments


@pytest.mark.parametrize("shape", [(2, 6), (6, 2)])
def test_maps_of_structure_lie_across(tmp_path, shape):
    """Two rows of six, whether there are more queries or more channels; the fifth of the second row is loud."""
    structure = torch.zeros(*shape, 4, 4)
    structure[(1, 4) if shape[0] == 2 else (4, 1)] = -1.0
    draw_structure(structure, tmp_path / "s.png")
    picture = np.asarray(Image.open(tmp_path / "s.png").convert("RGBA")).astype(int)
    rows, columns = np.nonzero((picture[..., 3] > 200) & (picture[..., 2] > 180) & (picture[..., 0] < 80))
    assert picture.shape[1] > 2 * picture.shape[0]
    assert 0.6 < columns.mean() / picture.shape[1] < 0.85
    assert 0.5 < rows.mean() / picture.shape[0] < 0.75


@pytest.fixture(scope="module")
def reader(models):
    return fit_reader(models.run, models.autoencoder, track)


def test_probes_are_as_good_as_the_evaluation_says(models, reader, builtin_set, tmp_path):
    known, read = read_factors(builtin_set), []
    for split in ("train", "test"):
        clips = open_clips(models.autoencoder, builtin_set, split, tmp_path)
        read.append(read_clips(LatentCache(models.run / "latents" / split), clips, known))
    measured = measure_probes(*read, factors_of(known))
    for latent in TwinLatents._fields:
        for factor, quality in reader.quality[latent].items():
            assert quality == pytest.approx(measured[factor][latent]["value"], abs=1e-6), (latent, factor)


def test_a_clip_is_read_as_its_cached_latents_are(models, reader):
    cache = LatentCache(models.run / "latents/test")
    stored = cache.load(["structure_mean", "dynamics_mean"])
    latents = TwinLatents(*(each[:1] for each in stored.values()))
    found = reader(latents)
    for latent, rows in zip(TwinLatents._fields, latents, strict=True):
        fit = reader.fits[latent]["speed"]
        expected = (rows.flatten().double() - fit.mean) / fit.std @ fit.weights + fit.bias
        assert torch.allclose(found[latent]["speed"], expected)
    shown = table(reader, found, {"motion": "a < b"})
    rows = ElementTree.fromstring(shown.replace("a < b", "x")).findall(".//tbody/tr")
    assert [row.find("th").text for row in rows] == list(SHOWN.values())
    assert all(len(row.findall("td")) == 3 for row in rows)


def test_the_truth_is_told_of_videos_that_are_known(builtin_set):
    clip = next(iter(read_factors(builtin_set).values()))
    cells = true_cells(clip, [0, 5, 10, 15])
    assert cells["motion"] == clip.motion
    red, green, blue = (round(value) for value in clip.body[0])
    assert f"rgb({red}, {green}, {blue})" in cells["sprite colour (RGB)"]
    points = drawn_path([0.0, 0.5], [0.1, -0.2])
    assert "0.000,0.100 0.500,-0.200" in points


def test_a_run_without_caches_or_factors_says_so(models, tmp_path):
    (tmp_path / "config.yaml").symlink_to(models.run / "config.yaml")
    with pytest.raises(UserError, match="holds no latents"):
        fit_reader(tmp_path, models.autoencoder, track)
    other = replace(models).autoencoder
    state = {name: value.clone() for name, value in other.state_dict().items()}
    try:
        next(other.parameters()).data += 1
        with pytest.raises(UserError, match="was encoded by autoencoder"):
            fit_reader(models.run, other, track)
    finally:
        other.load_state_dict(state)


def test_probes_go_along_with_weights_and_read_as_those_of_the_run(models, reader, tmp_path, capsys):
    given = tmp_path / "given/autoencoder"
    save_model(load_model(VidTwin, models.run / "weights/ema").bfloat16(), given)
    assert probes.main(["--run", str(models.run), "--weights", str(given.parent)]) == 0
    model = load_model(VidTwin, given)
    found = load_reader(given, model)
    assert (found.quality, found.classes) == (reader.quality, reader.classes)
    latents = model.encode(torch.rand(1, 3, *model.typed_config.video_shape) * 2 - 1).mode()
    for latent, factors in reader(latents).items():
        for factor, expected in factors.items():
            assert torch.allclose(found(latents)[latent][factor], expected, rtol=1e-4, atol=1e-3), (latent, factor)
    with pytest.raises(UserError, match="reads latents of other weights"):
        load_reader(given, models.autoencoder)
    next(model.parameters()).data += 1
    save_model(model, tmp_path / "other")
    capsys.readouterr()
    assert probes.main(["--run", str(models.run), "--weights", str(tmp_path / "other")]) == 2
    assert f"holds other weights than {models.run}" in capsys.readouterr().err
    (given / PROBES).write_bytes(b"none")
    with pytest.raises(UserError, match="holds no probes"):
        load_reader(given, model)
