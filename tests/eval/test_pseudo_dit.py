"""The paper's Figure 5: its printed parameter count, published geometries, and claims against counts."""

import json

import pytest
from torch import nn

from eval.coders.geometry import GEOMETRIES
from eval.costs.bars import draw_figure
from eval.costs.claims import ratio, verdict
from eval.costs.pseudo_dit import Reading, Row, cost_rows, pseudo_dit, readings, tokens_of
from eval.costs.tokenizers import PEERS, all_tokenizers, strided, vidtwins
from eval.pseudo_dit import main

BY_NAME = {each.name: each for each in all_tokenizers()}


def test_four_layers_have_the_printed_parameters_and_are_a_transformer_encoder():
    def parameters(model: nn.Module) -> int:
        return sum(parameter.numel() for parameter in model.parameters())

    assert parameters(pseudo_dit(4)) == 12_610_560  # as the paper prints it
    layer = nn.TransformerEncoderLayer(512, 8, 2048, batch_first=True)
    assert parameters(pseudo_dit(6)) == parameters(nn.TransformerEncoder(layer, 6, nn.LayerNorm(512)))


@pytest.mark.parametrize(
    ("name", "patches", "positions"),
    [
        ("VidTwin, setting 1", 8 * 4 * 4 + 8 * 7, 16 * 49 + 16 * 14),
        ("VidTwin, setting 2", 8 * 4 * 4 + 8 * 4, 16 * 49 + 16 * 8),
        ("VidTwin, setting 3", 6 * 4 * 4 + 8 * 7, 12 * 49 + 16 * 14),
        ("VidTwin, released", 184, 1008),
        ("iVideoGPT", 8 * 8 + 7 * 2 * 2, 2 * 16 * 16 + 14 * 4 * 4),
        ("MAGVIT-v2", 3 * 14 * 14, 5 * 28 * 28),
        ("EMU-3", 2 * 14 * 14, 4 * 28 * 28),
        ("TATS", 2 * 8 * 8, 1024),  # its transformer's block size
        ("Video-LaViT", 8 * 8 + 2 * 3 * 5, 256 + 135),  # 135 motion tokens a clip
        ("LTX-Video", 2 * 4 * 4, 3 * 7 * 7),
    ],
)
def test_tokens_are_those_of_the_published_geometries(name, patches, positions):
    geometry = BY_NAME[name].geometry
    assert (tokens_of(geometry, 2), tokens_of(geometry, 1)) == (patches, positions)


@pytest.mark.parametrize(
    ("name", "rate"), [("iVideoGPT", 0.01497), ("CMD, content as pixels", 0.06845), ("EMU-3", 0.00521)]
)
def test_rates_are_those_of_the_papers_table(name, rate):
    assert BY_NAME[name].geometry.rate == pytest.approx(rate, abs=5e-6)


def test_a_causal_tokenizer_keeps_its_frame_rule():
    assert strided(16, 4, 8, causal=True).video[0] == 17
    assert strided(16, 8, 8, causal=True).latents == ((16, 3, 28, 28),)
    assert strided(12, 6, 8, causal=True).video[0] == 19


def test_diffusers_rows_are_those_that_the_adapters_are_tested_against():
    for each in GEOMETRIES:
        if each.name in BY_NAME:
            frames, *size = BY_NAME[each.name].geometry.video
            assert BY_NAME[each.name].geometry.latents == (each.latent(frames, *size),)


def test_every_row_names_its_source_and_once():
    everything = all_tokenizers()
    assert len(BY_NAME) == len(everything)
    assert all("arXiv" in each.source for each in PEERS)


def row(name: str, flops: int, memory: int) -> Row:
    return Row(name, Reading(4, 1, "fused"), tokens=1, parameters=1, flops=flops, memory=memory)


def test_claims_hold_where_the_ratios_lie_in_their_ranges():
    base = row("VidTwin", 10, 10)
    found = [ratio(row(*figures), base) for figures in (("a", 47, 21), ("b", 47, 36), ("c", 12, 26), ("d", 9, 9))]
    assert [(each.flops_as_claimed, each.memory_as_claimed) for each in found] == [
        (True, True),
        (True, False),
        (False, True),
        (False, False),
    ]
    said = verdict(found, Reading(4, 1, "fused"))
    assert said == (
        "4 layers, every position a token, fused attention: both claims hold for a; of FLOPs alone for b; "
        "of memory alone for c"
    )


def test_rows_come_by_reading_and_a_figure_is_drawn(tmp_path):
    few = [vidtwins()[2], BY_NAME["LTX-Video"]]
    wanted = [Reading(4, patch, attention) for patch in (2, 1) for attention in ("fused", "plain")]
    rows = list(cost_rows(few, wanted))
    assert [(each.tokenizer, each.reading) for each in rows] == [(t.name, r) for r in wanted for t in few]
    for larger, smaller in (rows[:2], rows[4:6]):
        assert larger.flops > smaller.flops
    draw_figure(rows, few, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.full
def test_the_script_writes_table_json_and_picture(tmp_path, capsys):
    out, picture = tmp_path / "new" / "cost.json", tmp_path / "new" / "cost.png"
    assert main(["--output", str(out), "--plot", str(picture)]) == 0
    content = json.loads(out.read_text())
    assert len(content["rows"]) == len(all_tokenizers()) * len(readings())
    assert len(content["verdicts"]) == len(readings())
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "both claims hold" in capsys.readouterr().out
