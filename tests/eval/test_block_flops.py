"""FLOPs of every kind of block against its formula: a product of (a × b) and (b × c) matrices is 2·a·b·c."""

import pytest
import torch
from torch import Tensor, nn

from autoencoder.config import VidTwinConfig
from autoencoder.losses.flops import loss_flops
from autoencoder.network.dynamics import DynamicsExpander, DynamicsExtractor
from autoencoder.network.qformer import QFormer
from autoencoder.network.structure import StructureExpander, StructureExtractor, TemporalQFormer
from eval.costs.pseudo_dit import FEED_FORWARD, WIDTH, count
from generator.network.attention import AttentionToTwo, SelfAttention
from generator.network.block import GELU, Block, Modulation, SwiGLU
from runtime.flops import count_flops

B, N, D = 2, 24, 32  # clips, tokens, width
CONFIG = VidTwinConfig(
    frames=4, height=40, width=40, patch=(1, 8, 8), dim=D, num_heads=2, encoder_depth=1, decoder_depth=1,
    num_queries=3, query_dim=8, qformer_depth=3, qformer_heads=2, qformer_hidden=20, structure_channels=2,
    structure_conv_dim=8, dynamics_channels=3,
)  # fmt: skip


def flops(make, *shapes: tuple[int, ...]) -> int:
    """Of a module's forward pass; `make` builds it."""
    with torch.device("meta"), torch.no_grad():
        module = make().eval()
        inputs = [torch.empty(shape) for shape in shapes]
        return count_flops(lambda: module(*inputs))


def linear(positions: int, into: int, out: int) -> int:
    return 2 * positions * into * out


def conv(kernel: int, into: int, out: int, positions: int) -> int:
    return 2 * kernel * into * out * positions


def scores_and_sum(queries: int, keys: int, width: int) -> int:
    """Scores q·kᵀ of all heads together, and the weighted sum of values."""
    return 2 * (2 * queries * keys * width)


def test_self_attention():
    expected = linear(B * N, D, 3 * D) + B * scores_and_sum(N, N, D) + linear(B * N, D, D)
    assert flops(lambda: SelfAttention(D, 4, qk_norm=True), (B, N, D)) == expected


@pytest.mark.parametrize("ratio", [4.0, 2.5])
def test_both_mlps(ratio):
    hidden, gated = int(D * ratio), int(D * ratio * 2 / 3) // 8 * 8
    assert flops(lambda: GELU(D, ratio), (B, N, D)) == linear(B * N, D, hidden) + linear(B * N, hidden, D)
    assert flops(lambda: SwiGLU(D, ratio), (B, N, D)) == linear(B * N, D, 2 * gated) + linear(B * N, gated, D)


def test_adaln():
    assert flops(lambda: Modulation(D, 6), (B, 1, D)) == linear(B, D, 6 * D)


def attention_to_two(context: int, heads: int) -> int:
    """Class vectors to key and value, both folded into query and output weights once a clip, then `heads` products."""
    folded = linear(2 * B, context, 2 * D) + 3 * linear(B, D, D) + 2 * B * D
    return folded + linear(B * N, D, heads) + linear(B * N, heads + 1, D)


def test_cross_attention_to_two_vectors():
    heads, context = 4, 12
    found = flops(lambda: AttentionToTwo(D, context, heads), (B, N, D), (B, 2, context), (B, N, D))
    assert found == attention_to_two(context, heads)
    # What it replaces: a query and an output projection for each token, and two keys.
    plain = 2 * linear(2 * B, context, D) + 2 * linear(B * N, D, D) + B * scores_and_sum(N, 2, D)
    assert found < plain / 2


def test_a_block_of_the_dit_is_the_sum_of_its_parts():
    heads, context = 4, 12
    with torch.device("meta"), torch.no_grad():
        block = Block(D, heads, 4.0, class_width=context)
        x, condition, classes = torch.empty(B, N, D), torch.empty(B, 1, D), torch.empty(B, 2, context)
        found = count_flops(lambda: block(x, condition, [N], classes))
    attention = linear(B * N, D, 4 * D) + B * scores_and_sum(N, N, D)
    mlp = 2 * linear(B * N, D, 4 * D)
    assert found == attention + mlp + linear(B, D, 6 * D) + attention_to_two(context, heads)


def qformer_flops(sequences: int, frames: int) -> int:
    """Three layers, the first and third of which read the frames."""
    q, d, hidden = CONFIG.num_queries, CONFIG.query_dim, CONFIG.qformer_hidden
    to_itself = 4 * linear(q, d, d) + scores_and_sum(q, q, d)
    to_frames = 2 * linear(q, d, d) + 2 * linear(frames, D, d) + scores_and_sum(q, frames, d)
    feed_forward = linear(q, d, hidden) + linear(q, hidden, d)
    return sequences * (3 * (to_itself + feed_forward) + 2 * to_frames)


def test_the_qformer():
    def make() -> nn.Module:
        return QFormer.of(CONFIG, CONFIG.num_queries, CONFIG.query_dim, D, CONFIG.qformer_heads)

    assert flops(make, (7, 4, D)) == qformer_flops(7, 4)


def test_the_structure_path():
    t, h, w = CONFIG.grid
    maps, c, half = B * CONFIG.num_queries, CONFIG.structure_conv_dim, 3  # five positions halve to three
    into = conv(9, CONFIG.query_dim, c, maps * h * w) + conv(9, c, 2 * c, maps * half**2)
    into += conv(9, 2 * c, 2 * CONFIG.structure_channels, maps * half**2)
    found = flops(lambda: StructureExtractor(CONFIG, TemporalQFormer(CONFIG)), (B, D, t, h, w))
    assert found == qformer_flops(B * h * w, t) + into

    back = conv(9, CONFIG.structure_channels, 2 * c, maps * half**2) + conv(9, 2 * c, c, maps * half**2)
    back += conv(9, c, CONFIG.query_dim, maps * (2 * half) ** 2) + linear(maps * h * w, CONFIG.query_dim, D)
    back += conv(1, CONFIG.num_queries, t, B * h * w * D)
    shape = (B, CONFIG.structure_channels, CONFIG.num_queries, half, half)
    assert flops(lambda: StructureExpander(CONFIG), shape) == back


def test_the_dynamics_path():
    t, h, w = CONFIG.grid
    channels, half = CONFIG.dynamics_channels, 3
    into = conv(9, D, D, B * t * half**2) + 2 * conv(9, D, 2 * channels, B * t * half)
    assert flops(lambda: DynamicsExtractor(CONFIG), (B, D, t, h, w)) == into
    back = linear(B * t * 2 * half, channels, D) + linear(B * t * 2 * half, D, D)
    back += 2 * (linear(B * t * D, half, w) + linear(B * t * D, w, w))
    assert flops(lambda: DynamicsExpander(CONFIG), (B, channels, t, 2 * half)) == back


def test_lpips_is_vgg_three_times_over():
    """Both videos forward and the reconstruction's gradient back, but not to any weight; a weighing of each depth."""
    frames, side, depths = 2, 32, ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
    forward, weighing, into = 0, 0, 3
    for depth, (channels, layers) in enumerate(depths):
        positions = frames * (side // 2**depth) ** 2
        forward += conv(9, into, channels, positions) + (layers - 1) * conv(9, channels, channels, positions)
        weighing, into = weighing + conv(1, channels, 1, positions), channels
    assert loss_flops((frames, side, side), adversarial=False, perceptual=True) == 3 * forward + 2 * weighing


@pytest.mark.parametrize("layers", [4, 6])
def test_a_step_of_the_pseudo_dit(layers):
    """A step is three times the forward pass, but for the gradient that the input does not need."""
    n = 50
    block = linear(n, WIDTH, 4 * WIDTH) + scores_and_sum(n, n, WIDTH) + 2 * linear(n, WIDTH, FEED_FORWARD)
    assert count(n, layers)["flops"] == 3 * layers * block - linear(n, WIDTH, 3 * WIDTH)


def test_backward_passes_take_twice_the_forward_ones():
    """Of linear maps and convolutions exactly, where the input needs a gradient too."""
    for make, shape in ((lambda: GELU(D, 4.0), (B, N, D)), (lambda: DynamicsExtractor(CONFIG), (B, D, *CONFIG.grid))):
        with torch.device("meta"):
            module, x = make(), torch.empty(shape, requires_grad=True)
            step = count_flops(lambda: total(module(x)).backward())  # noqa: B023
        assert step == 3 * flops(make, shape)


def total(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return sum(each.sum() for each in (outputs if isinstance(outputs, tuple) else (outputs,)))
