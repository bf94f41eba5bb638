"""The generator as a diffusers pipeline: `transformer/`, `autoencoder/`, `scheduler/` in one folder."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline, SchedulerMixin
from diffusers.utils import BaseOutput
from diffusers.video_processor import VideoProcessor
from PIL import Image
from torch import Tensor

from autoencoder.model import VidTwin
from data.latents import TwinLatents
from generator.diffusion import Guidance, sample
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

    Args:
        transformer: carries the statistics that its latents are normalised with.
        weak_transformer: a smaller or earlier one for autoguidance; guidance is classifier-free without one.
        classes: their names; label i is `classes[i]`.
        fps: frames a second of the videos.
        num_inference_steps, guidance_scale, guidance_interval: what the transformer was trained to be sampled with.
    """

    model_cpu_offload_seq = "transformer->weak_transformer->autoencoder"
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
        output_type: Literal["pil", "np", "pt", "latent"] = "pil",
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
            structure, dynamics: a latent of each video, as `encode` returns it, for which the other is drawn.
            order: what is drawn first (`generator.diffusion.sample`).
            output_type: lists of PIL images; `np`, `b t h w c` in [0, 1]; `pt`, `b t c h w` in [0, 1]; or `latent`,
                the twin latents as `decode` takes them, of the last window.
            return_dict: otherwise a tuple of the frames.
            callback_on_step_end: called as `callback(pipeline, step, timestep, {"latents": x})` with what is being
                solved for, normalised, one row a video; may return another in a dict.

        Raises:
            UserError: classes, steps, or a use that this generator does not have.
        """
        self._check_uses(num_windows, structure, dynamics, order)
        config, device = self.config, self._execution_device
        label = torch.tensor(self.labels(class_labels), device=device).repeat_interleave(num_videos_per_prompt)
        steps = config.num_inference_steps if num_inference_steps is None else num_inference_steps
        guidance = Guidance(
            config.guidance_scale if guidance_scale is None else guidance_scale,
            tuple(config.guidance_interval if guidance_interval is None else guidance_interval),
            self.weak_transformer,
        )
        windows: list[TwinLatents] = []
        for window in range(num_windows):
            noise = self._noise(len(label), generator, device) if latents is None else latents[window].to(device)
            context = windows[-1] if windows else None
            given = self._given(structure, dynamics, noise)
            with self.progress_bar(total=steps) as bar:
                on_step = self._on_step(bar, callback_on_step_end, callback_on_step_end_tensor_inputs)
                windows.append(
                    sample(
                        self.transformer, self.scheduler, label, noise, steps, guidance, **given, order=order,
                        context=context, on_step=on_step,
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

    def _check_uses(self, num_windows: int, structure: Tensor | None, dynamics: Tensor | None, order: Order) -> None:
        model = self.transformer.config
        if structure is not None and dynamics is not None:
            raise UserError("structure and dynamics are both given: nothing is left to draw")
        one_given = structure is not None or dynamics is not None or order != "together"
        if one_given and model.times != "separate":
            raise UserError(
                "this generator draws both latents together only; train one with --diffusion.times separate"
            )
        if num_windows > 1 and not model.context:
            raise UserError("this generator knows one window only; train one with --diffusion.context 0.5")

    def _given(self, structure: Tensor | None, dynamics: Tensor | None, noise: TwinLatents) -> dict[str, Tensor]:
        """Latents that are given, normalised; the noise only stands in for what is not."""
        given = {name: each for name, each in (("structure", structure), ("dynamics", dynamics)) if each is not None}
        whole = noise._replace(**{name: each.to(noise.structure) for name, each in given.items()})
        return {name: getattr(self.transformer.normalise(whole), name) for name in given}

    def _noise(
        self, count: int, generator: torch.Generator | Sequence[torch.Generator] | None, device: torch.device
    ) -> TwinLatents:
        from diffusers.utils.torch_utils import randn_tensor

        layout = self.transformer.layout
        shapes = (layout.structure_shape, layout.dynamics_shape)
        generators = generator if generator is None or isinstance(generator, torch.Generator) else list(generator)
        return TwinLatents(*(randn_tensor((count, *shape), generator=generators, device=device) for shape in shapes))

    def _on_step(self, bar: object, callback: Callable | None, inputs: Sequence[str]) -> Callable:
        def on_step(number: int, time: Tensor, x: Tensor) -> Tensor:
            bar.update()
            if callback is None:
                return x
            said = callback(self, number, time, {name: {"latents": x}[name] for name in inputs})
            return (said or {}).get("latents", x)

        return on_step

    def _decode(self, windows: list[TwinLatents], output_type: str) -> list[list[Image.Image]] | np.ndarray | Tensor:
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
