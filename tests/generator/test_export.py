"""What is given away loads, samples as the run does, and carries a card that the Hub's own reader understands."""

import json
import re
import shutil

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file

from generator import export
from generator.pipeline import VidTwinPipeline, load_pipeline


@pytest.fixture
def run(stage2_run, tmp_path):
    """A copy of a finished run with an evaluation beside it."""
    run = shutil.copytree(stage2_run, tmp_path / "demo/generator")
    (tmp_path / "demo/evaluation").mkdir()
    (tmp_path / "demo/evaluation/report.json").write_text(json.dumps({"accuracy": {"generated": 0.6251}, "names": []}))
    return run


def test_an_export_loads_and_samples_as_the_run_does(run, tmp_path, monkeypatch):
    assert export.main([str(run), str(tmp_path / "out"), "--licence", "cc-by-4.0"]) == 0
    frames = []
    for pipeline in (VidTwinPipeline.from_pretrained(tmp_path / "out"), load_pipeline(run / "weights/ema")):
        pipeline.set_progress_bar_config(disable=True)
        frames.append(pipeline(0, generator=torch.Generator().manual_seed(0), output_type="pt").frames)
    assert torch.equal(*frames)
    card = ModelCard.load(tmp_path / "out/README.md")
    assert (card.data.license, card.data.library_name) == ("cc-by-4.0", "diffusers")
    assert "video-generation" in card.data.tags
    [snippet] = re.findall(r"```python\n(.*?)```", card.text, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet, names)
    assert names["videos"].shape == (1, 4, 16, 16, 3)


def test_an_export_in_bf16_is_half_as_large_and_samples_nearly_the_same(run, tmp_path):
    exact = {"structure_mean", "structure_std", "dynamics_mean", "dynamics_std"}
    latents, sizes = {}, {}
    for precision in ("fp32", "bf16"):
        out = tmp_path / precision
        assert export.main([str(run), str(out), "--precision", precision]) == 0
        sizes[precision] = sum(file.stat().st_size for file in out.rglob("*.safetensors"))
        for pipeline in (VidTwinPipeline.from_pretrained(out), load_pipeline(out)):
            assert (pipeline.transformer.dtype, pipeline.autoencoder.dtype) == (torch.float32, torch.float32)
            pipeline.set_progress_bar_config(disable=True)
            drawn = pipeline([0, 1], generator=torch.Generator().manual_seed(0), output_type="latent").frames
            latents.setdefault(precision, drawn)
            assert all(map(torch.equal, drawn, latents[precision]))
    assert 0.45 < sizes["bf16"] / sizes["fp32"] < 0.6
    for a, b in zip(latents["bf16"], latents["fp32"], strict=True):
        assert 0 < (a - b).abs().max() < 0.05 * b.abs().max()
    stored = load_file(tmp_path / "bf16/transformer/diffusion_pytorch_model.safetensors")
    assert {name for name, tensor in stored.items() if tensor.dtype == torch.float32} == exact
    stored = load_file(tmp_path / "bf16/autoencoder/diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert "| weights | bfloat16; the statistics" in (tmp_path / "bf16/README.md").read_text()
    assert "| weights | float32; " in (tmp_path / "fp32/README.md").read_text()
    for config in (tmp_path / "bf16").rglob("config.json"):
        assert str(tmp_path) not in config.read_text()  # where it was made is nobody's business


def test_the_card_tells_what_the_run_wrote_down(run, tmp_path):
    assert export.main([str(run), str(tmp_path / "out")]) == 0
    text = (tmp_path / "out/README.md").read_text()
    model = load_pipeline(run / "weights/ema").transformer
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    for row in (
        f"| transformer | {sum(p.numel() for p in model.parameters()):,} parameters, 1 layers of width 16 |",
        "| steps | 6 of 4 clips |",
        "| sampled by | heun, 2 steps, guidance 2 |",
        "| report: accuracy generated | 0.6251 |",
        f"| training: loss | {last['loss']:.4g} |",
    ):
        assert row in text
    assert re.search(r"^\| data \| builtin\d* \|$", text, re.MULTILINE)
    assert "license: other" in text
    assert "Not stated" in text
    assert not re.search(r"[{}]", text)


def test_what_is_not_finished_and_what_is_in_the_way_is_one_line(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "there").mkdir()
    assert export.main([str(run), str(tmp_path / "there")]) == 2
    assert "is there already" in capsys.readouterr().err
    monkeypatch.setattr(export, "model_card", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.main([str(run), str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    (run / "training.json").unlink()
    assert export.main([str(run), str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said == f"error: {run} holds no finished run of stage two; train it to its end first\n"
