"""The seam of the project: the two latents of a clip, as encoded, cached, generated and decoded."""

from typing import NamedTuple

from torch import Tensor


class TwinLatents(NamedTuple):
    """The twin latents of `b` clips (paper, section 3).

    Shapes
        structure: `b d_S n_q h_S w_S`, one map for each structure query
        dynamics:  `b d_D t (w_D + h_D)`, one row for each frame, the width part first
    """

    structure: Tensor
    dynamics: Tensor

    def to(self, *args: object, **kwargs: object) -> "TwinLatents":
        """Both latents moved or cast as by `torch.Tensor.to`."""
        return TwinLatents(self.structure.to(*args, **kwargs), self.dynamics.to(*args, **kwargs))
