"""The learning-rate schedule: a pure function of the step, so that resuming needs no state."""

import math


def warmup_cosine(step: int, warmup_steps: int, total_steps: int, final: float = 0.0) -> float:
    """The factor on the learning rate at `step` (0-based): linear warm-up, then half a cosine down to `final`."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min((step - warmup_steps) / max(total_steps - warmup_steps, 1), 1.0)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * progress))
