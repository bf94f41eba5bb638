"""A module's training steps under DeepSpeed; beside it only `optimizer` and `zero` know it."""

import io
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime import distributed
from runtime.engine.compilation import compile_parts, compiled_parts
from runtime.engine.config import EngineConfig
from runtime.engine.optimizer import OptimizerConfig, make_optimizer, put_steps_beside_weights
from runtime.engine.prepare import cast_buffers, checkpoint_activations
from runtime.engine.schedule import warmup_cosine
from runtime.engine.toolchain import keep_extensions_by_environment, put_ninja_on_path, require_compiler
from runtime.errors import UserError
from runtime.files import write_json

# Said beforehand, DeepSpeed does not have to search for it and report on the search.
os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
import deepspeed
from deepspeed.utils import safe_get_full_fp32_param, safe_set_full_fp32_param, set_z3_leaf_module

logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
# What it would build at a first start on a CPU, for half a minute of every core, serves inference alone.
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False

TAG = "engine"
LAYOUT = "layout.json"
REDUCE_BUCKET = 50_000_000  # elements: small enough that reducing begins early in a backward pass


class Engine:
    """A module with its optimizer and learning rate, under ZeRO.

    Call it for the forward pass, then `backward` and `step` once for each micro-batch. The learning rate follows
    `step_count`, the steps so far. One with a loss or gradient that is not finite on any process is `skipped` on all.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: OptimizerConfig,
        config: EngineConfig,
        micro_batch: int,
        total_steps: int,
    ) -> None:
        self.optimizer_config, self.config, self.total_steps = optimizer, config, total_steps
        put_ninja_on_path()
        keep_extensions_by_environment()
        self.step_count = 0
        self.skipped, self.norm = False, torch.zeros(())
        self.compiles = config.compiles(distributed.device())
        self.parameters = sum(parameter.numel() for parameter in module.parameters())
        module.to(distributed.device())
        if config.checkpoint_activations:
            checkpoint_activations(module)
        cast_buffers(module, config.dtype)
        parts = compiled_parts(module, config.zero_stage) if self.compiles else []
        if self.compiles:
            require_compiler(distributed.device())
        for part in parts:
            set_z3_leaf_module(part, config.zero_stage == 3)  # gathered at once: no hook inside breaks its graph
        flat = config.zero_stage in (1, 2) and not config.offload
        with redirect_stdout(io.StringIO()):  # it reports on every extension that it builds or finds
            self.deepspeed, self.optimizer, _, _ = deepspeed.initialize(
                model=module,
                optimizer=make_optimizer(module, optimizer, config.offload, kernels=flat),
                config=deepspeed_config(optimizer, config, micro_batch),
            )
        if flat:
            flatten_gradients(self.optimizer)
        compile_parts(parts)

    @property
    def module(self) -> nn.Module:
        """The bare module, for what is not training: nothing that needs a gradient goes through it."""
        return self.deepspeed.module

    @property
    def device(self) -> torch.device:
        return self.deepspeed.device

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self.deepspeed(*args, **kwargs)

    def stance(self) -> AbstractContextManager:
        """Around DeepSpeed's work: its Muon compiles itself, for 15 s on a CPU, unless the engine compiles nothing."""
        return nullcontext() if self.compiles else torch.compiler.set_stance("force_eager")

    def backward(self, loss: Tensor) -> None:
        """A loss that is not finite makes its gradients so: looking at these is enough, and they are shared anyway."""
        with self.stance():
            self.deepspeed.backward(loss * (1 + 0 * loss.detach()))

    def step(self) -> None:
        """Ends a micro-batch; at the last one of a step the weights move."""
        with self.stance():
            if self.deepspeed.is_gradient_accumulation_boundary():
                self.move_weights()
            else:
                self.deepspeed.step()

    def move_weights(self) -> None:
        self.set_learning_rate()
        self.step_count += 1
        if self.config.zero_stage:
            self.deepspeed.step()
            self.skipped = bool(self.optimizer.overflow)
            return
        # DeepSpeed's ZeRO optimizers look at their gradients; without one we do.
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        self.norm = torch.nn.utils.get_total_norm(gradients)
        self.skipped = not bool(self.norm.isfinite())
        if self.skipped:
            self.module.zero_grad()
            self.deepspeed.micro_steps += 1
        else:
            self.deepspeed.step()

    def set_learning_rate(self) -> None:
        config = self.optimizer_config
        factor = warmup_cosine(self.step_count, config.warmup_steps, self.total_steps, config.final_lr)
        for group in self.optimizer.param_groups:
            group["lr"] = factor * (config.muon_lr if group.get("use_muon") else config.lr)

    @property
    def learning_rate(self) -> float:
        """Adam's, in the step taken last."""
        return next(group["lr"] for group in self.optimizer.param_groups if not group.get("use_muon"))

    @property
    def gradient_norm(self) -> float:
        """Before clipping, of the step taken last."""
        norm = self.deepspeed.get_global_grad_norm() if self.config.zero_stage else self.norm
        return float(norm or 0.0)

    @property
    def master(self) -> list[Tensor]:
        """The float32 weights that this process moves: under ZeRO its flat shares of them, without ZeRO all of them."""
        match self.config.zero_stage:
            case 0:
                return list(self.module.parameters())
            case 3:
                return self.optimizer.fp32_partitioned_groups_flat
            case _:
                return self.optimizer.single_partition_of_fp32_groups

    def master_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Each parameter's name and a copy of its whole float32 value; every process must go through all of them."""
        for name, parameter in self.module.named_parameters():
            yield name, safe_get_full_fp32_param(parameter) if self.config.zero_stage else parameter.detach().clone()

    @torch.no_grad()
    def set_master_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Set float32 values of the parameters that are named, on every process; `module` follows at its next step."""
        for name, parameter in self.module.named_parameters():
            if name not in weights:
                continue
            if self.config.zero_stage:
                safe_set_full_fp32_param(parameter, weights[name].to(self.device))
            else:
                parameter.copy_(weights[name])

    def save(self, folder: Path) -> None:
        """Every process writes its share of weights and optimizer states into `folder`."""
        self.deepspeed.save_checkpoint(
            str(folder),
            tag=TAG,
            save_latest=False,
            client_state={
                "step_count": self.step_count,
                "universal_checkpoint_info": {"universal_checkpoint_version": 0.2},
            },
        )
        if distributed.is_main():
            write_json(folder / LAYOUT, self.layout)

    def load(self, folder: Path) -> None:
        """The inverse of `save`, also on another number of processes, and from ZeRO stage 1 to 2 and back.

        Raises `UserError` where DeepSpeed cannot divide the states anew: Muon's, and those of stage 0 or 3 at another.
        """
        saved = json.loads((folder / LAYOUT).read_text())
        if saved == self.layout:
            self.load_shares(folder, TAG)
            return
        stages = {saved["zero_stage"], self.config.zero_stage}
        if self.optimizer_config.name == "muon" or not (len(stages) == 1 or stages == {1, 2}):
            raise UserError(
                f"{folder} was saved by {saved['world_size']} processes at ZeRO stage {saved['zero_stage']}; states of "
                "Muon, or of stages 0 and 3 at another stage, cannot be divided anew: continue as it was, or begin "
                "a new run from its weights"
            )
        with whole_checkpoint(folder / TAG) as whole:
            self.deepspeed._config.load_universal_checkpoint = True
            self.load_shares(whole.parent, whole.name)
            self.deepspeed._config.load_universal_checkpoint = False
        put_steps_beside_weights(self.optimizer.optimizer)

    def load_shares(self, folder: Path, tag: str) -> None:
        path, state = self.deepspeed.load_checkpoint(str(folder), tag=tag)
        if path is None:
            raise UserError(f"DeepSpeed found nothing to load in {folder}")
        self.step_count = state["step_count"]

    @property
    def layout(self) -> dict[str, int]:
        """How states are divided; a checkpoint of another layout is made whole before it is loaded."""
        stage = self.config.zero_stage
        return {"zero_stage": stage, "world_size": distributed.world_size() if stage else 1}


@contextmanager
def whole_checkpoint(shares: Path) -> Iterator[Path]:
    """DeepSpeed's universal form of a checkpoint, for as long as it is being loaded."""
    whole = shares.with_name(f".{shares.name}.universal")
    distributed.on_main(lambda: make_universal(shares, whole))
    yield whole
    distributed.barrier()
    if distributed.is_main():
        shutil.rmtree(whole)
        (shares.parent / "latest_universal").unlink()


def make_universal(shares: Path, whole: Path) -> None:
    shutil.rmtree(whole, ignore_errors=True)
    convert = [sys.executable, "-m", "deepspeed.checkpoint.ds_to_universal", "--num_extract_workers", "1"]
    places = ["--num_merge_workers", "1", "--input_folder", str(shares), "--output_folder", str(whole)]
    done = subprocess.run([*convert, *places], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"{shares} cannot be divided anew: {done.stderr.strip().splitlines()[-1]}")


def flatten_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Have DeepSpeed's optimizer, which only its engine can make, go on as ours."""
    from runtime.engine.zero import FlatZeroOptimizer  # importing it compiles Muon's kernels

    optimizer.__class__ = FlatZeroOptimizer
    optimizer.take_over()


def deepspeed_config(optimizer: OptimizerConfig, config: EngineConfig, micro_batch: int) -> dict[str, object]:
    # DeepSpeed's own linear map for stage 3 would replace PyTorch's everywhere, and be computed again in `MLP`.
    zero: dict[str, object] = {"stage": config.zero_stage, "memory_efficient_linear": False}
    if config.zero_stage == 2:
        zero |= {"overlap_comm": True, "reduce_bucket_size": REDUCE_BUCKET}
    if config.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": torch.cuda.is_available()}
    return {
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": config.accumulation,
        "gradient_clipping": optimizer.clip_norm,
        "bf16": {"enabled": config.precision == "bf16"},
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": 10**9,
        "timers": {"throughput": {"enabled": False}},  # it would wait for the device twice a step
    }
