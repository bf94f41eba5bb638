"""What the processes of a training run send each other."""

from runtime.engine.config import EngineConfig

FLOAT32 = 4


def bytes_sent(parameters: int, engine: EngineConfig, processes: int, micro_batches: int) -> int:
    """By each process in a step, with ring collectives: gathering or scattering n bytes sends n·(p − 1)/p of them.

    Stage 0 reduces gradients for all; 1 does so in float32, once a step (`runtime.engine.zero`), and gathers weights; 2
    scatters gradients of each micro-batch; 3 gathers weights twice for each micro-batch as well.
    """
    weights = parameters * engine.dtype.itemsize
    gradients = parameters * FLOAT32 if engine.zero_stage == 1 and not engine.offload else weights
    whole = {
        0: 2 * gradients,
        1: 2 * gradients + weights,
        2: micro_batches * gradients + weights,
        3: micro_batches * (gradients + 2 * weights),
    }[engine.zero_stage]
    return whole * (processes - 1) // processes
