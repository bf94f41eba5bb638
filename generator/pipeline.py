"""The generator as a diffusers pipeline: `transformer/`, `autoencoder/`, `scheduler/` in one folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from diffusers.video_processor import VideoProcessor
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from autoencoder.model import VidTwin
from data.latents import TwinLatents
from generator.calls import OutputType, check_call, check_given, check_noise
from generator.config import check_interval
from generator.diffusion import Guidance, sample
from generator.diffusion.schedulers import check_steps
from generator.diffusion.solver import Order
from generator.dit import DiT
from runtime.errors import UserError
from runtime.weights import load_model, replace_folder

Labels = str | int | Sequence[str | int]
Frames = list[list[Image.Image]] | np.ndarray | Tensor | TwinLatents


@dataclass
class VidTwinPipelineOutput(BaseOutput):
    """What the pipeline gives.

    Attributes:
        frames: of each video, as `output_type` says.
        latents: of each window, as `decode` takes them, float32.
    """

    frames: Frames
    latents: list[TwinLatents]


class VidTwinPipeline(DiffusionPipeline):
    """Class labels to videos: noise -> DiT and solver -> twin latents -> VidTwin's decoder.

    `VidTwinPipeline.from_pretrained(folder)` reads what `save_pretrained` wrote; the models are this project's, which
    must be importable. Any scheduler does that was made `from_config(pipeline.scheduler.config)` and is deterministic.

    Args:
        transformer: carries the statistics that its latents are normalised with.
        weak_transformer: a smaller or earlier one for autoguidance; guidance is classifier-free without one.
        classes: their names; label i is `classes[i]`.
        fps: frames a second of the videos.
        num_inference_steps, guidance_scale, guidance_interval: what the transformer was trained to be sampled with.
    """

    model_cpu_offload_seq = "transformer->autoencoder"
    _exclude_from_cpu_offload: ClassVar = ["weak_transformer"]  # it is called in turn with the other at every step
    _optional_components: ClassVar = ["weak_transformer"]
    _callback_tensor_inputs: ClassVar = ["latents"]

    def __init__(
        self,
        transformer: DiT,
        autoencoder: VidTwin,
        scheduler: SchedulerMixin,
        weak_transformer: DiT | None = None,
        classes: Sequence[str] = (),
        fps: float = 8.0,
        num_inference_steps: int = 50,
        guidance_scale: float = 5.0,
        guidance_interval: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.register_modules(
            transformer=transformer, autoencoder=autoencoder, scheduler=scheduler, weak_transformer=weak_transformer
        )
        self.register_to_config(
            classes=list(classes),
            fps=fps,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            guidance_interval=list(guidance_interval),
        )
        self.video_processor = VideoProcessor(do_resize=False)

    @torch.no_grad()
    def __call__(
        self,
        class_labels: Labels,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        guidance_interval: tuple[float, float] | None = None,
        num_videos_per_prompt: int = 1,
        num_windows: int = 1,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        latents: Sequence[TwinLatents] | None = None,
        structure: Tensor | None = None,
        dynamics: Tensor | None = None,
        order: Order = "together",
        output_type: OutputType = "pil",
        return_dict: bool = True,
        callback_on_step_end: Callable[["VidTwinPipeline", int, Tensor, dict], dict] | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> VidTwinPipelineOutput | tuple[Frames]:
        """Generate videos.

        Args:
            class_labels: names or numbers of classes, one for each prompt.
            num_inference_steps, guidance_scale, guidance_interval: the pipeline's own where they are not given.
            num_videos_per_prompt: videos of each label, one after the other.
            num_windows: lengths of a video in the windows that the model was trained on; more than one needs a model
                trained with `diffusion.context`.
            generator: gives the noise; one, or one for each video.
            latents: the noise itself, standard normal, in the place of a generator: one `TwinLatents` a window.
            structure, dynamics: a latent of each video, or one for all, as `encode` returns it, for which the other
                is drawn.
            order: what is drawn first (`generator.diffusion.sample`).
            output_type: lists of PIL images; `np`, `b t h w c` in [0, 1]; `pt`, `b t c h w` in [0, 1]; or `latent`,
                the twin latents as `decode` takes them, of the last window.
            return_dict: otherwise a tuple of the frames.
            callback_on_step_end: called after each evaluation as `callback(pipeline, number, time, {"latents": x})`
                with what is being solved for, normalised, one row a video; may return another in a dict.

        Raises:
            UserError: classes, steps, or a use that this generator does not have.
        """
        check_call(self, num_windows, structure, dynamics, order, output_type, callback_on_step_end_tensor_inputs)
        config, device = self.config, self._execution_device
        label = torch.tensor(self.labels(class_labels), device=device).repeat_interleave(num_videos_per_prompt)
        steps = config.num_inference_steps if num_inference_steps is None else num_inference_steps
        guidance = Guidance(
            config.guidance_scale if guidance_scale is None else guidance_scale,
            check_interval(config.guidance_interval if guidance_interval is None else guidance_interval),
            self.weak_transformer,
        )
        noises = self._noises(len(label), num_windows, generator, device) if latents is None else latents
        check_noise(noises, num_windows, len(label), self.transformer.layout)
        given, windows = self._given(structure, dynamics, len(label), device), []
        passes = num_windows * (1 if order == "together" or given else 2)
        with self.progress_bar(total=passes * self._evaluations(steps)) as bar:
            on_step = self._on_step(bar, callback_on_step_end, callback_on_step_end_tensor_inputs)
            for noise in noises:
                context = windows[-1] if windows else None
                windows.append(
                    sample(
                        self.transformer, self.scheduler, label, noise.to(device), steps, guidance, **given,
                        order=order, context=context, on_step=on_step,
                    )
                )  # fmt: skip
        windows = [self.transformer.denormalise(window) for window in windows]
        frames = windows[-1] if output_type == "latent" else self._decode(windows, output_type)
        self.maybe_free_model_hooks()
        return VidTwinPipelineOutput(frames, windows) if return_dict else (frames,)

    def labels(self, class_labels: Labels) -> list[int]:
        """Numbers of the classes that are named or numbered. Raises `UserError` for one that is not known."""
        wanted = [class_labels] if isinstance(class_labels, str | int) else list(class_labels)
        return [self._label(each) for each in wanted]

    def _label(self, name: str | int) -> int:
        known = self.config.classes
        if isinstance(name, str) and name in known:
            return known.index(name)
        if str(name).isdecimal() and int(name) < self.transformer.null_label:
            return int(name)
        raise UserError(
            f"no class is named {name}; this generator knows {', '.join(known)}, or numbers below "
            f"{self.transformer.null_label}"
        )

    def _given(
        self, structure: Tensor | None, dynamics: Tensor | None, count: int, device: torch.device
    ) -> dict[str, Tensor]:
        """Latents that are given, normalised, one for each video; zeros only stand in for what is not."""
        layout, given = self.transformer.layout, {}
        for name, latent in (("structure", structure), ("dynamics", dynamics)):
            if latent is not None:
                check_given(name, latent, count, getattr(layout, f"{name}_shape"))
                given[name] = latent.to(device, torch.float32).expand(count, *latent.shape[1:])
        shapes = layout.structure_shape, layout.dynamics_shape
        whole = TwinLatents(*(torch.zeros(count, *shape, device=device) for shape in shapes))._replace(**given)
        return {name: getattr(self.transformer.normalise(whole), name) for name in given}

    def _noises(
        self,
        count: int,
        windows: int,
        generator: torch.Generator | Sequence[torch.Generator] | None,
        device: torch.device,
    ) -> list[TwinLatents]:
        """Of each window, one after the other from the same generators."""
        if generator is not None and not isinstance(generator, torch.Generator):
            generator = list(generator)
            if len(generator) != count:
                raise UserError(f"{len(generator)} generators for {count} videos: give one, or one for each")
        shapes = self.transformer.layout.structure_shape, self.transformer.layout.dynamics_shape
        return [
            TwinLatents(*(randn_tensor((count, *shape), generator=generator, device=device) for shape in shapes))
            for _ in range(windows)
        ]

    def _evaluations(self, steps: int) -> int:
        """Of the guided model: Heun's method takes two a step but the last."""
        check_steps(self.scheduler, steps)
        self.scheduler.set_timesteps(steps)
        return len(self.scheduler.timesteps)

    def _on_step(self, bar: tqdm, callback: Callable | None, inputs: Sequence[str]) -> Callable:
        def on_step(number: int, time: Tensor, x: Tensor) -> Tensor:
            bar.update()
            said = callback(self, number, time, dict.fromkeys(inputs, x)) if callback is not None else None
            return (said or {}).get("latents", x)

        return on_step

    def _decode(
        self, windows: list[TwinLatents], output_type: OutputType
    ) -> list[list[Image.Image]] | np.ndarray | Tensor:
        videos = [self.autoencoder.decode(window.to(self.autoencoder.dtype)) for window in windows]
        return self.video_processor.postprocess_video(torch.cat(videos, dim=2).float().clamp(-1, 1), output_type)


def save_pipeline(pipeline: VidTwinPipeline, folder: Path) -> None:
    """Write the pipeline's folder, whole or not at all."""
    partial = folder.with_name(f".{folder.name}.partial")
    pipeline.save_pretrained(partial)
    replace_folder(partial, folder)


def load_pipeline(folder: str | Path) -> VidTwinPipeline:
    """The pipeline in `folder`, every part of it complete.

    Raises `UserError` when the folder is no generator's, or a part of it does not fit.
    """
    folder = Path(folder)
    if not (folder / "model_index.json").is_file():
        raise UserError(f"{folder} holds no generator (no model_index.json); train stage two or give another --weights")
    import diffusers

    index = json.loads((folder / "model_index.json").read_text())
    scheduler_class = getattr(diffusers, index["scheduler"][1])
    weak = folder / "weak_transformer"
    settings = ("classes", "fps", "num_inference_steps", "guidance_scale", "guidance_interval")
    return VidTwinPipeline(
        transformer=load_model(DiT, folder / "transformer"),
        autoencoder=load_model(VidTwin, folder / "autoencoder"),
        scheduler=scheduler_class.from_pretrained(folder / "scheduler", local_files_only=True),
        weak_transformer=load_model(DiT, weak) if weak.is_dir() else None,
        **{name: index[name] for name in settings},
    )
