"""The checks, the most important first."""

from dataclasses import replace

from eval.checks.check import Check, Device

PATIENCE = {"cuda": 1, "cpu": 3}  # a CPU may be shared, and all have three times as long there


def checks(device: Device) -> tuple[Check, ...]:
    """All rows; on a GPU those that measure speed have it to themselves."""
    alone = device == "cuda"
    table = (
        Check("data", "render a few videos", "behaviour.render", 60),
        Check("stage1", "stage one in fp32", "behaviour.train_stage1", 90, ("data",)),
        Check("cache", "twin latents, written and verified", "behaviour.cache", 60, ("stage1",)),
        Check("compile-stage1", "stage one, bf16, compiled", "behaviour.compile_stage1", 180, ("stage1",)),
        Check("x0", "stage two, x0, in fp32", "behaviour.train_x0", 90, ("cache",)),
        Check("flow", "stage two, flow, in fp32", "behaviour.train_flow", 90, ("cache",)),
        Check("bf16-stage1", "stage one in bf16", "behaviour.bf16_stage1", 90, ("stage1",)),
        Check("bf16-x0", "stage two, x0, in bf16", "behaviour.bf16_x0", 90, ("x0",)),
        Check("bf16-flow", "stage two, flow, in bf16", "behaviour.bf16_flow", 90, ("flow",)),
        Check("compile-stage2", "stage two, bf16, compiled", "behaviour.compile_stage2", 180, ("x0",)),
        Check("resume", "both stages go on from the middle", "behaviour.resume", 120, ("stage1", "x0")),
        Check("zero", "from ZeRO stage 1 to 2", "behaviour.zero_stage", 90, ("stage1",)),
        Check("signal", "SIGTERM to all its processes", "signals.stop", 120, ("data",)),
        Check("sample", "both samplers", "behaviour.sample", 120, ("x0", "flow")),
        Check("metrics", "PSNR, SSIM, features as on the CPU", "equality.metrics", 60, ("data",)),
        Check("step", "stage one's training step", "speed.step", 150, alone=alone),
        Check("both-passes", "stage one, forward + backward", "speed.both_passes", 120, alone=alone),
        Check("forward", "stage one, forward", "speed.forward", 90, alone=alone),
        Check("step-stage2", "stage two's training step", "generator_step.measure", 150, ("cache",), alone),
        Check("parts", "stage one's step by part", "parts.measure", 150, ("data",), alone),
        Check("demo", "the whole line in miniature", "behaviour.demo", 180, ("data",)),
        Check("tests", "tests marked gpu", "behaviour.gpu_tests", 120),
        Check("attention", "over 16 frames, fused or plain", "attention.measure", 90, alone=alone),
        Check("sweep", "the largest micro-batch", "speed.sweep", 200, alone=alone),
    )
    return tuple(replace(check, limit=PATIENCE[device] * check.limit) for check in table)
