"""The machines that a project is planned for."""

from dataclasses import dataclass

from runtime.errors import UserError


@dataclass(frozen=True)
class GPU:
    """As its maker's data sheet has it.

    Attributes:
        peak: FLOP/s of dense bf16 matrix products that are summed in float32.
        memory: bytes.
        link: bytes a second that it sends to the other GPUs of its machine: NVLink one way, else PCI Express 4.0 ×16.
    """

    name: str
    peak: float
    memory: float
    link: float

    def is_called(self, device: str) -> bool:
        """Whether PyTorch's name for a device is this one's, `NVIDIA H100 80GB HBM3` for example."""
        return self.name.lower() in device.lower().replace(" ", "").replace("geforce", "")


GPUS = {
    gpu.name: gpu
    for gpu in (
        GPU("B200", 2250e12, 180e9, 900e9),
        GPU("H200", 989e12, 141e9, 450e9),
        GPU("H100", 989e12, 80e9, 450e9),
        GPU("A100", 312e12, 80e9, 300e9),
        GPU("L40S", 362e12, 48e9, 32e9),
        GPU("RTX4090", 165e12, 24e9, 32e9),
    )
}


@dataclass(frozen=True)
class Cluster:
    """GPUs in equal machines.

    Attributes:
        per_machine: GPUs in one of them, where there are more.
        network: bytes a second that a machine sends to others, all its ports together.
        disk: bytes a second that a machine reads or writes.
    """

    gpu: GPU
    gpus: int
    per_machine: int
    network: float
    disk: float

    def __post_init__(self) -> None:
        if self.gpus > self.per_machine and self.gpus % self.per_machine:
            raise UserError(
                f"{self.gpus} GPUs do not fill machines of {self.per_machine}; change --gpus or --gpus_per_machine"
            )

    @property
    def machines(self) -> int:
        return -(-self.gpus // self.per_machine)

    @property
    def ring(self) -> float:
        """Bytes a second at which a ring over all GPUs moves, which leaves each machine once: its slowest link's."""
        return self.gpu.link if self.machines == 1 else min(self.gpu.link, self.network)
