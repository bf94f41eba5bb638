"""The pipeline is one that users of diffusers know: each habit of theirs gives what the pieces give by hand."""

import importlib.util
import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from diffusers.utils import accelerate_utils

from data.latents import TwinLatents
from generator.config import DiffusionConfig
from generator.diffusion import make_scheduler, sample
from generator.diffusion.schedulers import SCHEDULERS, exchanged
from generator.pipeline import VidTwinPipeline, load_pipeline
from runtime.errors import UserError
from runtime.weights import weights_hash
from tests.small_pipeline import CLASSES, DIFFUSERS_ON_NUMPY_2, make_pipeline

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pipeline():
    return make_pipeline()


def numbers(seed=5):
    return torch.Generator().manual_seed(seed)


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("weak", [False, True])
def test_a_round_trip_through_a_folder_changes_no_bit(weak, tmp_path):
    pipeline = make_pipeline(weak=weak)
    pipeline.save_pretrained(tmp_path)
    drawn = pipeline(["Archery", 3], generator=numbers(), output_type="pt")
    for again in (VidTwinPipeline.from_pretrained(tmp_path), load_pipeline(tmp_path)):
        again.set_progress_bar_config(disable=True)
        assert dict(again.config).items() >= {"classes": list(CLASSES), "guidance_scale": 2.0}.items()
        for name in ("transformer", "autoencoder", *(["weak_transformer"] if weak else [])):
            assert weights_hash(getattr(again, name)) == weights_hash(getattr(pipeline, name))
            assert not getattr(again, name).training
        assert torch.equal(again(["Archery", 3], generator=numbers(), output_type="pt").frames, drawn.frames)
    if not weak:
        strong = make_pipeline(weak=True)  # guided by another model, the same weights give something else
        strong.set_progress_bar_config(disable=True)
        assert not torch.equal(strong(["Archery", 3], generator=numbers(), output_type="pt").frames, drawn.frames)


def test_names_and_numbers_are_the_same_and_prompts_repeat_one_after_the_other(pipeline):
    assert pipeline.labels(["Surfing", 1, "3", np.int64(0)]) == [2, 1, 3, 0]
    assert pipeline.labels("7") == [3]  # a name is a name
    noise = pipeline(["Archery", 2], num_videos_per_prompt=2, generator=numbers(), output_type="latent").frames
    by_hand = pipeline([0, 0, 2, 2], generator=numbers(), output_type="latent").frames
    assert equal(noise, by_hand)


def test_the_pipeline_is_the_sampler_between_the_statistics_and_the_decoder(pipeline):
    layout = pipeline.transformer.layout
    noise = TwinLatents(
        *(torch.randn(2, *s, generator=numbers()) for s in (layout.structure_shape, layout.dynamics_shape))
    )
    drawn = pipeline(["Bowling", "Surfing"], 3, 1.0, latents=[noise], output_type="pt")
    scheduler = make_scheduler(DiffusionConfig("flow", time_shift=3.0))
    normalised = sample(pipeline.transformer, scheduler, torch.tensor([1, 2]), noise, steps=3, guidance=1)
    std, mean = torch.tensor([2.0, 0.5]).view(2, 1, 1, 1), torch.tensor([0.5, -1]).view(2, 1, 1, 1)
    torch.testing.assert_close(drawn.latents[0].structure, normalised.structure * std + mean)
    with torch.no_grad():
        video = pipeline.autoencoder.decode(drawn.latents[0])
    torch.testing.assert_close(drawn.frames, (video.clamp(-1, 1) / 2 + 0.5).transpose(1, 2))


def test_kinds_of_output_agree(pipeline):
    call = {"class_labels": ["Archery", "Bowling"], "num_inference_steps": 2}
    pil, array, tensor, latent = (
        pipeline(**call, generator=numbers(), output_type=kind).frames for kind in ("pil", "np", "pt", "latent")
    )
    assert (tensor.shape, array.shape) == ((2, 4, 3, 16, 16), (2, 4, 16, 16, 3))
    assert np.array_equal(array, tensor.permute(0, 1, 3, 4, 2).numpy())
    assert np.array_equal(np.array([[np.array(image) for image in video] for video in pil]), (array * 255).round())
    [frames] = pipeline(**call, generator=numbers(), output_type="pt", return_dict=False)
    assert torch.equal(frames, tensor)
    with torch.no_grad():
        decoded = pipeline.autoencoder.decode(latent).clamp(-1, 1) / 2 + 0.5
    torch.testing.assert_close(decoded.transpose(1, 2), tensor)


def test_a_list_of_generators_equals_one_by_one(pipeline):
    together = pipeline([1, 2], generator=[numbers(1), numbers(2)], output_type="latent").frames
    for i, (label, seed) in enumerate(((1, 1), (2, 2))):
        alone = pipeline(label, generator=numbers(seed), output_type="latent").frames
        for found, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(found[i : i + 1], expected)


@pytest.mark.parametrize("objective", ["x0", "flow"])
def test_any_scheduler_made_from_any_others_configuration_is_the_one_made_for_the_objective(objective):
    config = DiffusionConfig(objective, time_shift=3.0)
    for (a, _), (b, kind) in itertools.product(SCHEDULERS[objective].items(), repeat=2):
        made, expected = kind.from_config(make_scheduler(config, a).config), make_scheduler(config, b)
        for key in kind._get_init_keys(kind) - {"self", "kwargs"}:
            assert made.config[key] == expected.config[key], (a, b, key)


@pytest.mark.filterwarnings(DIFFUSERS_ON_NUMPY_2)
@pytest.mark.parametrize(("objective", "kind"), [("x0", DDIMScheduler), ("flow", DPMSolverMultistepScheduler)])
def test_an_exchanged_scheduler_samples_as_one_made_for_the_objective(objective, kind, tmp_path):
    make_pipeline(objective).save_pretrained(tmp_path)
    drawn, config = [], DiffusionConfig(objective, time_shift=3.0)
    name = {"x0": "ddim", "flow": "dpm"}[objective]
    for scheduler in (lambda p: kind.from_config(p.scheduler.config), lambda p: make_scheduler(config, name)):
        pipeline = load_pipeline(tmp_path)
        if objective == "x0":
            pipeline.scheduler = exchanged(pipeline.scheduler, "unipc")  # there and back
        pipeline.scheduler = scheduler(pipeline)
        pipeline.set_progress_bar_config(disable=True)
        drawn.append(pipeline([0, 1], 5, generator=numbers(), output_type="pt").frames)
    assert torch.equal(*drawn)
    with pytest.raises(UserError, match=r"^the scheduler \w+ does not sample \w+ predictions: choose"):
        exchanged(pipeline.scheduler, "heun" if objective == "x0" else "ddim")


@pytest.mark.parametrize(("order", "evaluations"), [("together", 7), ("structure_first", 14)])
def test_the_bar_and_the_callback_count_every_evaluation(order, evaluations, monkeypatch):
    pipeline, bars = make_pipeline(times="separate"), []
    monkeypatch.setattr("diffusers.pipelines.pipeline_utils.tqdm", lambda **it: bars.append(Bar(**it)) or bars[-1])
    calls = []
    pipeline([0, 1], order=order, output_type="latent", callback_on_step_end=lambda *it: calls.append(it[1:3]) or {})
    [bar] = bars
    assert bar.total == bar.done == len(calls) == evaluations  # Heun: two a step but the last
    times = make_scheduler(DiffusionConfig("flow", time_shift=3.0))
    times.set_timesteps(4)
    assert calls[:7] == list(enumerate(times.timesteps))


class Bar:
    """What tqdm is asked."""

    def __init__(self, total, **_):
        self.total, self.done = total, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        self.done += 1


def test_a_callback_changes_what_is_being_solved_for(pipeline):
    def zero(pipeline, number, time, tensors):
        assert list(tensors) == ["latents"]
        return {"latents": tensors["latents"] * (number < 6)}

    plain = pipeline(0, generator=numbers(), output_type="latent").frames
    seen = pipeline(0, generator=numbers(), output_type="latent", callback_on_step_end=lambda *_: None).frames
    assert equal(plain, seen)
    drawn = pipeline(0, generator=numbers(), output_type="latent", callback_on_step_end=zero).frames
    assert torch.equal(drawn.dynamics, torch.tensor([1.0, 0]).view(1, 2, 1, 1).expand_as(drawn.dynamics))


def test_in_bfloat16_the_models_alone_are_rounded(tmp_path):
    exact = make_pipeline()
    exact.save_pretrained(tmp_path)
    coarse = make_pipeline().to(torch.bfloat16)
    loaded = VidTwinPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    found = []
    for pipeline in (exact, coarse, loaded):
        pipeline.set_progress_bar_config(disable=True)
        drawn = pipeline(range(4), generator=numbers(), output_type="pt")
        found.append((*pipeline.transformer.statistics, pipeline.scheduler.sigmas, *drawn.latents[0], drawn.frames))
    assert {each.dtype for values in found for each in values} == {torch.float32}
    for other, pipeline in zip(found[1:], (coarse, loaded), strict=True):
        assert pipeline.transformer.dtype == pipeline.autoencoder.dtype == torch.bfloat16
        assert equal(other[:5], found[0][:5])
        for a, b in zip(other[5:], found[0][5:], strict=True):
            assert 0 < (a - b).norm() < 0.03 * b.norm()


def test_a_given_latent_stays_and_is_for_every_video():
    pipeline = make_pipeline(times="separate")
    structure = torch.randn(1, *pipeline.transformer.layout.structure_shape, generator=numbers())
    drawn = pipeline([0, 1], structure=structure, generator=numbers(), output_type="latent").frames
    torch.testing.assert_close(drawn.structure, structure.expand(2, -1, -1, -1, -1))
    other = pipeline([0, 1], structure=structure + 1, generator=numbers(), output_type="latent").frames
    assert not torch.equal(other.dynamics, drawn.dynamics)


def test_further_windows_follow_the_first(pipeline):
    long = make_pipeline(context=True)
    drawn = long([0, 1], num_windows=3, generator=numbers(), output_type="pt")
    assert drawn.frames.shape == (2, 12, 3, 16, 16)
    first = long([0, 1], generator=numbers(), output_type="pt")
    assert torch.equal(first.frames, drawn.frames[:, :4])
    with torch.no_grad():
        frames = [long.autoencoder.decode(window).clamp(-1, 1) / 2 + 0.5 for window in drawn.latents]
    torch.testing.assert_close(torch.cat(frames, dim=2).transpose(1, 2), drawn.frames)


MISTAKES = {
    "no class is named Golf; this generator knows Archery, Bowling": {"class_labels": "Golf"},
    "no class is named 4;": {"class_labels": 4},
    "no class is named -1;": {"class_labels": -1},
    "there is no output_type gif: choose pil, np": {"output_type": "gif"},
    "there is no order backwards: choose together": {"order": "backwards"},
    "0 sampling steps: choose from 1 to 1000": {"num_inference_steps": 0},
    "3 generators for 1 videos": {"generator": [None] * 3},
    "this generator draws both latents together only": {"order": "structure_first"},
    "this generator knows one window only": {"num_windows": 2},
    "0 windows": {"num_windows": 0},
    "guidance between the noise levels 0.5 and 0.2": {"guidance_interval": (0.5, 0.2)},
    "latents must be a list of 1 pairs of shapes": {"latents": TwinLatents(torch.zeros(1), torch.zeros(1))},
    "a callback is given latents, no sigmas": {"callback_on_step_end_tensor_inputs": ["sigmas"]},
    "structure and dynamics are both given": {"structure": torch.zeros(1), "dynamics": torch.zeros(1)},
}


@pytest.mark.parametrize("said", MISTAKES)
def test_a_mistake_is_one_line(said, pipeline):
    with pytest.raises(UserError) as error:
        pipeline(**{"class_labels": 0, **MISTAKES[said]})
    assert str(error.value).startswith(said)
    assert "\n" not in str(error.value)


def test_a_given_latent_of_another_shape_is_one_line():
    pipeline = make_pipeline(times="separate", context=True)
    with pytest.raises(UserError, match=r"^structure of shape \(3, 2\) is given where \(1, 2, 2, 2, 2\) is needed$"):
        pipeline(0, structure=torch.zeros(3, 2))
    with pytest.raises(UserError, match=r"^a latent that is given is of one window"):
        pipeline(0, structure=torch.zeros(1, 2, 2, 2, 2), num_windows=2)


class Hook:
    """What accelerate leaves on an offloaded model, as far as diffusers looks at it."""

    def __init__(self, said):
        self.said = said

    def pre_forward(self, model):
        self.said.append("to the device")


@pytest.fixture
def offloadable(monkeypatch):
    """VidTwin's class as it is imported where accelerate is installed, which is not among the dependencies."""
    monkeypatch.setattr(accelerate_utils, "is_accelerate_available", lambda: True)
    monkeypatch.setattr(accelerate_utils, "accelerate", SimpleNamespace(__version__="1.15.0"), raising=False)
    spec = importlib.util.spec_from_file_location("offloadable_model", ROOT / "autoencoder/model.py")
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module.VidTwin


def test_an_offloaded_autoencoder_comes_to_its_device_for_the_pipeline(pipeline, offloadable):
    said, autoencoder = [], offloadable(**make_pipeline().autoencoder.config)
    autoencoder._hf_hook = Hook(said)
    autoencoder.encode(torch.zeros(1, 3, 4, 16, 16))
    assert said == ["to the device"]
    offloaded = VidTwinPipeline(pipeline.transformer, autoencoder, pipeline.scheduler, classes=CLASSES)
    offloaded.set_progress_bar_config(disable=True)
    offloaded(0, 1, output_type="np", callback_on_step_end=lambda *_: said.append("evaluated"))
    assert said == ["to the device", "evaluated", "to the device"]
    offloaded_in_turn = [*offloaded.model_cpu_offload_seq.split("->"), *offloaded._exclude_from_cpu_offload]
    assert sorted([*offloaded_in_turn, "scheduler"]) == sorted(offloaded.components)
