"""The released format where latents are halved more than once, against the release's layers written out."""

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from torch import nn

from autoencoder.model import VidTwin
from autoencoder.release import from_release, to_release
from runtime.errors import UserError

DIM, QUERY_DIM, CONV_DIM, CHANNELS, FRAMES, QUERIES = 16, 8, 4, 3, 2, 3


def model_of(grid: int, structure: int, dynamics: int) -> VidTwin:
    torch.manual_seed(0)
    return VidTwin(
        frames=FRAMES, height=4 * grid, width=4 * grid, patch=(1, 4, 4), dim=DIM, encoder_depth=1, decoder_depth=1,
        num_heads=2, num_queries=QUERIES, query_dim=QUERY_DIM, qformer_depth=1, qformer_hidden=8, qformer_heads=2,
        structure_channels=CHANNELS, structure_conv_dim=CONV_DIM, structure_halvings=structure,
        dynamics_channels=CHANNELS, dynamics_halvings=dynamics,
    )  # fmt: skip


class Released(nn.Module):
    """The layers whose numbers depend on the halvings, under the release's names, each in a Sequential."""

    def __init__(self, grid: int, structure: int, dynamics: int) -> None:
        super().__init__()
        widths = [CONV_DIM * 2**i for i in range(structure + 1)]
        downs = [(nn.Conv2d(d, 2 * d, 3, 2, 1), nn.ReLU()) for d in widths[:-1]]
        ups = [(nn.Conv2d(d, d // 2, 3, 1, 1), nn.ReLU(), nn.Upsample(scale_factor=2)) for d in widths[:0:-1]]
        frame_downs = [(nn.Conv2d(DIM, DIM, 3, 2, 1), nn.ReLU()) for _ in range(dynamics)]
        self.grid = grid
        self.content_downsample_blocks = nn.Sequential(*[layer for block in downs for layer in block])
        self.content_upsample_blocks = nn.Sequential(*[layer for block in ups for layer in block])
        self.downsample_motion_module = nn.Sequential(*[layer for block in frame_downs for layer in block])
        self.conv_in = nn.Conv2d(QUERY_DIM, CONV_DIM, 3, 1, 1)
        self.bottle_down = nn.Conv2d(widths[-1], 2 * CHANNELS, 3, 1, 1)
        self.bottle_up = nn.Sequential(nn.Conv2d(CHANNELS, widths[-1], 3, 1, 1), nn.ReLU())
        self.conv_out = nn.Conv2d(CONV_DIM, QUERY_DIM, 3, 1, 1)
        self.cont_emb = nn.Sequential(nn.Linear(QUERY_DIM, DIM), nn.ReLU(), nn.Conv1d(QUERIES, FRAMES, 1), nn.ReLU())
        self.motion_head = nn.Conv2d(DIM, 2 * CHANNELS, 3, 1, 1)

    def structure(self, maps):
        """Each query's map `(b q) c h w` to mean and log-variance in one."""
        return self.bottle_down(self.content_downsample_blocks(self.conv_in(maps)))

    def expanded(self, structure):
        """One clip's `d q h w` to `t h w d`: a map that overshoots the grid loses as much on either side."""
        maps = self.conv_out(self.content_upsample_blocks(self.bottle_up(rearrange(structure, "d q h w -> q d h w"))))
        border = (maps.shape[-1] - self.grid) // 2
        maps = maps[:, :, border : border + self.grid, border : border + self.grid]
        pieces = [self.cont_emb(position) for position in rearrange(maps, "q d h w -> (h w) q d")]
        return rearrange(torch.stack(pieces), "(h w) t d -> t h w d", h=self.grid)

    def dynamics(self, z):
        """One clip's `d t h w` to mean and log-variance in one, `d t s`."""
        frames = self.downsample_motion_module(rearrange(z, "d t h w -> t d h w"))
        averages = [rearrange(frames.mean(axis), "t d s -> 1 d t s") for axis in (2, 3)]
        return torch.cat([self.motion_head(average)[0] for average in averages], dim=-1)


@torch.inference_mode()
@pytest.mark.parametrize(
    ("grid", "structure", "dynamics"),
    [
        (14, 1, 2),  # the paper's setting 2
        (14, 2, 2),  # 14 → 7 → 4, then 4 → 8 → 16 and one off either side
        (13, 2, 1),  # 13 → 7 → 4: one off the near side and two off the far
        (9, 3, 3),  # 9 → 5 → 3 → 2, then 2 → 16
    ],
)
def test_halvings_have_the_releases_names_and_numbers(grid, structure, dynamics):
    reference = Released(grid, structure, dynamics)
    released = {**to_release(model_of(grid, structure, dynamics)), **reference.state_dict()}
    model = from_release(released, num_heads=2)
    assert (model.config.structure_halvings, model.config.dynamics_halvings) == (structure, dynamics)
    z = torch.randn(1, DIM, FRAMES, grid, grid)
    mean, logvar = model.extract_structure(z)
    expected = reference.structure(model.extract_structure.summary(z))
    torch.testing.assert_close(torch.cat([mean, logvar], 1)[0], rearrange(expected, "q d h w -> d q h w"))
    torch.testing.assert_close(model.expand_structure(mean)[0], reference.expanded(mean[0]))
    torch.testing.assert_close(torch.cat(model.extract_dynamics(z), 1)[0], reference.dynamics(z[0]))
    again = to_release(model)
    assert again.keys() == released.keys()
    assert all(torch.equal(again[name], released[name]) for name in released)


@pytest.mark.parametrize(
    ("block", "there", "wrong", "said"),
    [
        ("content_downsample_blocks", 2, 1, "an unknown tensor content_downsample_blocks.1.bias"),
        ("content_upsample_blocks", 3, 2, "an unknown tensor content_upsample_blocks.2.bias"),
        ("downsample_motion_module", 2, 4, "lacks the tensor downsample_motion_module.2.bias"),
    ],
)
def test_a_number_that_does_not_fit_is_named(block, there, wrong, said):
    released = to_release(model_of(8, 2, 2))
    for kind in ("weight", "bias"):
        released[f"{block}.{wrong}.{kind}"] = released.pop(f"{block}.{there}.{kind}")
    with pytest.raises(UserError) as error:
        from_release(released, num_heads=2)
    assert said in str(error.value)


def test_patches_that_overlap_have_no_released_form():
    model = VidTwin.from_config_fields(replace(model_of(8, 1, 1).typed_config, overlap=2))
    with pytest.raises(UserError, match="knows overlap 0 only, not overlap 2; save it with diffusers"):
        to_release(model)
