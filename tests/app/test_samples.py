"""What is drawn is what the pipeline draws, what is kept stays, and what the generator does not take is one line."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.samples import draw_again, draw_class, keeps_latents, schedulers_of, write_drawn
from data.latents import TwinLatents
from data.video.frames import decode_all, probe
from generator.diffusion import initial_noise
from generator.draw import Sampling
from generator.pipeline import load_pipeline
from runtime.errors import UserError
from runtime.progress import track
from tests.small_pipeline import DIFFUSERS_ON_NUMPY_2, make_pipeline

pytestmark = pytest.mark.filterwarnings(DIFFUSERS_ON_NUMPY_2)
SAMPLING = Sampling(steps=2, guidance=2.0, interval=(0.0, 1.0), scheduler="ddim", seed=7)


@pytest.fixture(scope="module")
def drawn(models):
    return draw_class(models, None, 3, SAMPLING, track)


def test_samples_are_the_pipelines_own_of_these_settings(models, app_run, drawn):
    layout = models.pipeline.transformer.layout
    noise = initial_noise(7, range(3), layout.structure_shape, layout.dynamics_shape)
    own = load_pipeline(app_run / "generator/weights/ema")
    own.set_progress_bar_config(disable=True)
    expected = own([0, 1, 0], 2, 2.0, latents=[noise], output_type="np").frames
    assert drawn.labels.tolist() == [0, 1, 0]
    assert np.abs(drawn.videos.numpy() - 255 * expected).max() <= 0.51


def test_progress_goes_over_every_step(models):
    seen = []

    def counted(items, total, what, unit):
        seen.append(total)
        for item in items:
            seen.append(item)
            yield item

    draw_class(models, 1, 1, replace(SAMPLING, steps=5), counted)
    assert seen == [5, *range(5)]


def test_a_kept_latent_stays_and_the_other_is_new_each_time(models, drawn):
    for kept, other in (("structure", "dynamics"), ("dynamics", "structure")):
        found = draw_again(models, drawn, 1, kept, track)
        assert found.labels.tolist() == [1, 1, 1]
        for row in getattr(found, kept):
            assert torch.allclose(row, getattr(drawn, kept)[1], atol=1e-5)
        others = torch.cat([getattr(found, other), getattr(drawn, other)[1, None]])
        assert torch.cdist(others.flatten(1), others.flatten(1)).fill_diagonal_(1).min() > 0.1
        decoded = models.autoencoder.decode(TwinLatents(found.structure, found.dynamics)).clamp(-1, 1)
        expected = (decoded.permute(0, 2, 3, 4, 1) + 1) * 127.5
        assert (found.videos.float() - expected).abs().max() <= 0.51


def test_a_scheduler_is_exchanged_for_one_drawing(models, drawn):
    before, five = models.pipeline.scheduler, replace(SAMPLING, steps=5)
    one, other = (draw_class(models, 0, 1, replace(five, scheduler=name), track).videos for name in ("ddim", "dpm"))
    assert models.pipeline.scheduler is before
    assert not torch.equal(one, other)
    again = draw_class(models, None, 3, SAMPLING, track)
    assert torch.equal(again.videos, drawn.videos)


@pytest.mark.parametrize(
    ("settings", "number", "said"),
    [
        ({"steps": 3}, 1, "3 sampling steps do not divide the 1000"),
        ({"steps": 0}, 1, "choose 1 to"),
        ({}, 99, "choose 1 to 16 videos"),
        ({"scheduler": "heun"}, 1, "the scheduler heun does not sample x0"),
    ],
)
def test_what_the_generator_does_not_take_is_one_line_and_changes_nothing(models, settings, number, said):
    before = models.pipeline.scheduler
    with pytest.raises(UserError, match=said):
        draw_class(models, 0, number, replace(SAMPLING, **settings), track)
    assert models.pipeline.scheduler is before


def test_schedulers_are_those_of_the_objective_and_one_time_keeps_nothing(models):
    assert schedulers_of(models.pipeline) == ["ddim", "dpm", "unipc"]
    assert keeps_latents(models.pipeline)
    shared = make_pipeline("flow")
    assert schedulers_of(shared) == ["heun", "euler", "dpm", "unipc"]
    assert not keeps_latents(shared)
    one_time = replace(models, pipeline=shared)
    first = draw_class(one_time, 2, 2, replace(SAMPLING, scheduler="euler"), track)
    with pytest.raises(UserError, match=r"--diffusion\.times separate"):
        draw_again(one_time, first, 0, "structure", track)


def test_a_grid_and_a_file_for_each_are_written(drawn, tmp_path):
    grid, files = write_drawn(drawn, ["Archery", "Surfing"], 8.0, tmp_path)
    assert [file.name for file in files] == ["01-Archery.mp4", "02-Surfing.mp4", "03-Archery.mp4"]
    assert probe(grid).frames == drawn.videos.shape[1]
    for file, video in zip(files, drawn.videos, strict=True):
        found = decode_all(probe(file))[:, 4::9, 4::9].float()  # the middles of what were pixels
        assert (found - video.float()).abs().mean() < 8
