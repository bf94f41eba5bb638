"""Twin latents <-> tokens: exact round trips, what a token holds, and positions that tell tokens apart."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data.latents import TwinLatents
from generator.network.attention import Rotation
from generator.network.positions import position_table, rotary_table
from generator.tokens import Statistics, TokenLayout, denormalise, normalise
from runtime.errors import UserError

RELEASED = ((8, 16, 7, 7), (8, 16, 14))
size, axis = st.integers(1, 4), st.integers(1, 9)
PAPER = {
    "setting 1": ((4, 16, 7, 7), (8, 16, 14)),
    "setting 2": ((4, 16, 7, 7), (16, 16, 8)),
    "setting 3": ((4, 12, 7, 7), (8, 16, 14)),
    "release": RELEASED,
}


@st.composite
def layouts(draw) -> TokenLayout:
    """Any geometry, with patches that divide it or do not."""
    structure_shape, dynamics_shape = draw(st.tuples(size, axis, axis, axis)), draw(st.tuples(size, axis, axis))
    return TokenLayout(structure_shape, dynamics_shape, draw(st.tuples(size, size, size)), draw(st.tuples(size, size)))


def random_latents(layout: TokenLayout, batch: int = 2) -> TwinLatents:
    return TwinLatents(torch.randn(batch, *layout.structure_shape), torch.randn(batch, *layout.dynamics_shape))


@given(layouts())
@example(TokenLayout(*RELEASED, (1, 1, 1), (1, 1)))
@example(TokenLayout(*RELEASED, (2, 7, 1), (2, 2)))
@example(TokenLayout(*RELEASED, (16, 1, 1), (1, 14)))
@settings(max_examples=50, deadline=None)
def test_round_trip_is_exact(layout):
    latents = random_latents(layout)
    tokens = layout.to_tokens(latents)
    for token, grid, width, latent in zip(
        tokens,
        (layout.structure_grid, layout.dynamics_grid),
        (layout.structure_token_width, layout.dynamics_token_width),
        latents,
        strict=True,
    ):
        assert token.shape == (2, torch.Size(grid).numel(), width)
        assert token.count_nonzero() == latent.numel()
        assert (token != 0).any(-1).all()  # no token is nothing but filling
    for back, latent in zip(layout.to_latents(tokens), latents, strict=True):
        assert torch.equal(back, latent)


def test_a_token_is_one_block_of_the_latent():
    """Against slicing: token (q, y, x) holds its patch and nothing else, in the order of the position table."""
    layout = TokenLayout((3, 4, 6, 4), (2, 6, 8), (2, 3, 2), (3, 4))
    latents = random_latents(layout, batch=1)
    tokens = layout.to_tokens(latents)
    (q, y, x), (_, rows, columns) = (1, 0, 1), layout.structure_grid
    patch = latents.structure[0, :, 2:4, 0:3, 2:4]
    assert torch.equal(tokens.structure[0, (q * rows + y) * columns + x], patch.flatten())
    assert torch.equal(tokens.dynamics[0, 1 * 2 + 1], latents.dynamics[0, :, 3:6, 4:8].flatten())


def test_one_token_per_position_and_one_per_frame():
    layout = TokenLayout(*RELEASED, (16, 1, 1), (1, 14))
    latents = random_latents(layout)
    tokens = layout.to_tokens(latents)
    assert tokens.structure.shape == (2, 49, 8 * 16)
    assert tokens.dynamics.shape == (2, 16, 8 * 14)
    assert torch.equal(tokens.structure[:, 10], latents.structure[..., 1, 3].flatten(1))
    assert torch.equal(tokens.dynamics[:, 5], latents.dynamics[:, :, 5].flatten(1))


@pytest.mark.parametrize("setting", PAPER)
@pytest.mark.parametrize("patch", [1, 2])
def test_the_papers_settings_come_back_exactly(setting, patch):
    layout = TokenLayout(*PAPER[setting], (patch,) * 3, (patch,) * 2)
    latents = random_latents(layout)
    tokens = layout.to_tokens(latents)
    (_, q, h, w), (_, t, s) = PAPER[setting]
    structure, dynamics = (q * h * w, t * s) if patch == 1 else (q // 2 * 16, t // 2 * s // 2)
    assert (tokens.structure.shape[1], tokens.dynamics.shape[1]) == (structure, dynamics)
    for back, latent in zip(layout.to_latents(tokens), latents, strict=True):
        assert torch.equal(back, latent)


def test_the_released_latents_are_1008_or_184_tokens():
    for patch, expected in ((1, 1008), (2, 184)):
        tokens = TokenLayout(*RELEASED, (patch,) * 3, (patch,) * 2)
        assert sum(torch.Size(grid).numel() for grid in (tokens.structure_grid, tokens.dynamics_grid)) == expected


@pytest.mark.parametrize(
    ("structure_patch", "dynamics_patch", "message"),
    [
        ((1, 1, 0), (1, 1), r"structure_patch \(1, 1, 0\) has no extent"),
        ((1, 1, 1), (1, 1, 1), r"a patch covers \(t, w_D \+ h_D\)"),
    ],
)
def test_a_patch_that_does_not_fit_is_named(structure_patch, dynamics_patch, message):
    with pytest.raises(UserError, match=message):
        TokenLayout(*RELEASED, structure_patch, dynamics_patch)


def test_a_latent_without_channels_is_refused():
    with pytest.raises(UserError, match="needs both latents"):
        TokenLayout((8, 16, 7, 7), (0, 16, 14), (1, 1, 1), (1, 1))


def test_normalisation_whitens_each_channel_and_comes_back():
    latents = random_latents(TokenLayout(*RELEASED, (1, 1, 1), (1, 1)), batch=8)
    scale, shift = torch.linspace(0.1, 9, 8), torch.linspace(-5, 5, 8)
    latents = TwinLatents(
        latents.structure * scale.view(8, 1, 1, 1) + shift.view(8, 1, 1, 1),
        latents.dynamics * scale.view(8, 1, 1) - shift.view(8, 1, 1),
    )
    over = [[axis for axis in range(x.ndim) if axis != 1] for x in latents]
    statistics = Statistics(
        *(f(x, axes) for x, axes in zip(latents, over, strict=True) for f in (torch.mean, torch.std))
    )
    normal = normalise(latents, statistics)
    for x, axes in zip(normal, over, strict=True):
        torch.testing.assert_close(x.mean(axes), torch.zeros(8), atol=1e-5, rtol=0)
        torch.testing.assert_close(x.std(axes), torch.ones(8))
    for back, latent in zip(denormalise(normal, statistics), latents, strict=True):
        torch.testing.assert_close(back, latent, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("grid", "width"), [((16, 7, 7), 1152), ((16, 14), 1152), ((1, 4, 4), 128), ((1, 1), 32)])
def test_positions_tell_every_token_apart(grid, width):
    table = position_table(grid, width)
    assert table.shape == (torch.Size(grid).numel(), width)
    torch.testing.assert_close(table.square().sum(-1), torch.full((len(table),), width / 2))  # sin² + cos²
    if len(table) > 1:
        distance = torch.cdist(table, table) + 1e9 * torch.eye(len(table))
        assert distance.min() > 0.5


def test_similarity_of_positions_depends_on_their_offset_alone():
    """Each axis contributes Σ cos(ω·offset): the closed form of a dot product of sine-cosine pairs."""
    table = position_table((5, 6), 16).view(5, 6, 16)
    frequency = 10_000 ** -(torch.arange(4) / 4)
    expected = torch.cos(2 * frequency).sum() + torch.cos(3 * frequency).sum()
    for row, column in [(0, 0), (2, 1), (1, 2)]:
        torch.testing.assert_close(table[row, column] @ table[row + 2, column + 3], expected)


def test_rotated_scores_depend_on_offsets_alone():
    """Against complex numbers: a pair of channels at angle ωx each, so a score knows x − x' along every axis."""
    torch.manual_seed(0)
    places = (torch.tensor([0, 3, 5]), torch.tensor([2, 2, 4]))
    q, k = torch.randn(2, 1, 1, 1, 12).expand(2, 1, 1, 3, 12)
    table, moved = rotary_table(places, 12), rotary_table(tuple(axis + 7 for axis in places), 12)
    scores, shifted = (Rotation.apply(q, *each) @ Rotation.apply(k, *each).mT for each in (table, moved))
    torch.testing.assert_close(scores, shifted)
    omega = torch.cat([10_000 ** -(torch.arange(3) / 3)] * 2)
    offset = torch.cat([(places[0][0] - places[0][2]).repeat(3), (places[1][0] - places[1][2]).repeat(3)])
    pairs = torch.complex(q[0, 0, 0, :6], q[0, 0, 0, 6:]), torch.complex(k[0, 0, 0, :6], k[0, 0, 0, 6:])
    expected = (pairs[0] * pairs[1].conj() * torch.polar(torch.ones(6), omega * offset)).real.sum()
    torch.testing.assert_close(scores[0, 0, 0, 2], expected)
