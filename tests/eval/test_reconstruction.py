"""Reconstructions of a small random VidTwin measured against torchmetrics, alone and beside others."""

import csv
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from einops import rearrange

from autoencoder.model import VidTwin
from data.clips import ClipDataset
from data.index import open_index
from data.loader import eval_loader
from data.video.frames import to_float, to_uint8, write_video
from eval.classifier import MotionClassifier, save_classifier
from eval.coders.coder import Coded
from eval.coders.registry import Prepared
from eval.fvd import main as fvd
from eval.measures.sampling_error import mean_and_error
from eval.measures.windows import WindowDataset, open_part, window_loader
from eval.reconstruction import evaluate_reconstruction, main
from eval.reconstructions import subjects
from eval.reconstructions.judges import Judges
from eval.reconstructions.measure import measure
from eval.reconstructions.outputs import of_coder
from eval.reconstructions.subjects import Subject
from runtime.weights import save_model
from tests.eval.stand_ins import StandIn

# torch marks TorchScript as deprecated; the published network exists in no other form.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")

SHAPE = (4, 24, 24)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return VidTwin(
        frames=4, height=24, width=24, patch=(1, 8, 8), dim=16, encoder_depth=1, decoder_depth=1, num_heads=2,
        num_queries=2, query_dim=8, qformer_depth=1, qformer_heads=2, qformer_hidden=16, structure_channels=2,
        structure_conv_dim=4, structure_halvings=0, dynamics_channels=2, dynamics_halvings=0,
    ).eval()  # fmt: skip


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights") / "ema"
    save_model(model, folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve smooth videos, of which every tenth is held out, and a broken file in each split's place."""
    root = tmp_path_factory.mktemp("videos")
    numbers = torch.Generator().manual_seed(0)
    for i in range(12):
        coarse = torch.rand(1, 3, 3, 3, 3, generator=numbers)
        video = torch.nn.functional.interpolate(coarse, (8 + i % 3, 24, 24), mode="trilinear") * 255
        write_video(root / f"video{i:02}.mp4", rearrange(video.round().byte(), "1 c t h w -> t h w c"), 8)
    (root / "video00a.mp4").write_text("no video")
    (root / "a.mp4").write_text("no video")
    return root


class Quantised:
    """Stands for a codec: eight grey levels, three bits for each value."""

    name = identity = "eight levels"

    def __call__(self, video):
        bits = torch.full((len(video),), 3.0 * video[0].numel())
        return Coded(((video + 1) * 3.5).round() / 3.5 - 1, bits=bits, overhead=torch.full_like(bits, 8))


def loader_of(folder, batch_size):
    clips = ClipDataset(open_index(folder, "train"), *SHAPE[:1], 8.0, SHAPE[1:], 0, False, False)
    return clips, eval_loader(clips, batch_size, 0, 1)


def test_figures_equal_a_direct_computation(model, folder):
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    clips, loader = loader_of(folder, batch_size=3)
    figures = evaluate_reconstruction(model, loader)
    video = to_float(torch.stack([clips[0, i]["video"] for i in range(len(clips))]))
    with torch.inference_mode():
        latents = model.encode(video).mode()
        outputs = {
            "reconstruction": model.decode(latents),
            "structure": model.decode(latents, "structure"),
            "dynamics": model.decode(latents, "dynamics"),
            "trivial": video.mean(2, keepdim=True).expand_as(video),
        }
    target = rearrange(video, "b c t h w -> (b t) c h w") / 2 + 0.5
    for name, output in outputs.items():
        frames = rearrange(output.clamp(-1, 1), "b c t h w -> (b t) c h w") / 2 + 0.5
        psnr = peak_signal_noise_ratio(frames, target, 1.0, reduction="elementwise_mean", dim=(1, 2, 3))
        assert figures["psnr"][name] == pytest.approx(psnr.item(), abs=1e-3)
        ssim = structural_similarity_index_measure(frames, target, data_range=1.0)
        assert figures["ssim"][name] == pytest.approx(ssim.item(), abs=1e-4)
    assert (figures["clips"], figures["frames"], figures["skipped"]) == (len(clips), 4 * len(clips), [])


def test_a_classifier_adds_accuracies_of_what_is_decoded(model, folder):
    classifier = MotionClassifier(3).eval()
    figures = evaluate_reconstruction(model, loader_of(folder, 4)[1], classifier=classifier)
    assert set(figures["accuracy"]) == {"real", "reconstruction", "structure", "dynamics", "trivial"}
    assert set(figures["accuracy"].values()) == {0.0}  # the folder has no labels, so none is right


def test_windows_follow_one_another_and_the_middle_is_that_of_training(folder):
    index = open_index(folder, "train")
    frames = {which: WindowDataset([index], 4, 8.0, (24, 24), which) for which in ("all", "first", "middle")}
    lengths = [info.frames for info in index.videos]
    assert sorted(set(lengths)) == [8, 9, 10]
    assert len(frames["all"]) == 2 * len(lengths)
    assert [frames["all"].first_frame(place) for place in range(4)] == [0, 4, 0, 4]
    assert [frames["first"].first_frame(place) for place in range(len(lengths))] == [0] * len(lengths)
    training = loader_of(folder, 1)[0]
    for i in range(3):
        assert torch.equal(frames["middle"][i]["video"], training[0, i]["video"])
    slow, long = (WindowDataset([index], *settings, (24, 24), "all") for settings in ((4, 4.0), (20, 8.0)))
    assert len(slow) == len(lengths)  # every other frame: 4 of 8
    assert long.windows[0][1].tolist() == [min(i, lengths[0] - 1) for i in range(20)]


def test_a_split_and_the_whole_folder(folder):
    test, everything = (open_part(folder, part, 1, None) for part in ("test", "all"))
    assert (len(test[0].videos), sum(len(index.videos) for index in everything)) == (1, 12)
    assert len(WindowDataset(everything, 4, 8.0, (24, 24), max_videos=5)) == 5


def test_a_file_that_breaks_later_is_left_out_and_counts_for_nobody(model, folder, tmp_path):
    names = [f"video{i:02}.mp4" for i in range(1, 5)]
    for name in names:
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    index = open_index(tmp_path, "train")
    (tmp_path / names[2]).write_text("no video any more")
    subject = Subject("eight levels", ("reconstruction",), of_coder(Quantised()))
    for batch_size in (1, 3):
        clips = WindowDataset([index], 4, 8.0, (24, 24))
        loader = window_loader(clips, batch_size, 0, 0, 1)
        scores, skipped = measure(subject.outputs_of, loader, subject.metrics(Judges()), torch.device("cpu"), "")
        assert skipped == [names[2]]
        assert scores["reconstruction"].places == [0, 2]  # of videos 2, 3 and 4, the first is held out


def test_the_error_of_a_mean_is_over_videos():
    values = torch.randn(50, generator=torch.Generator().manual_seed(0))
    mean, error = mean_and_error(values, torch.arange(50))
    assert mean == pytest.approx(values.mean().item())
    assert error == pytest.approx(values.std().item() / 50**0.5)
    # Copies of a clip are no new videos.
    assert mean_and_error(values.repeat_interleave(3), torch.arange(50).repeat_interleave(3))[1] == pytest.approx(error)
    assert mean_and_error(values, torch.zeros(50))[1] is None


@pytest.fixture
def peers(monkeypatch):
    """`--peers eight` opens the codec above."""
    registry = SimpleNamespace(prepare_coder={"eight": Prepared("eight levels", Quantised)}.__getitem__)
    monkeypatch.setitem(__import__("sys").modules, "eval.coders.registry", registry)


def test_models_and_peers_stand_side_by_side(weights, folder, tmp_path, peers, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    out = tmp_path / "out" / "figures.json"
    arguments = [str(folder), "--weights", f"one={weights}", f"two={weights}", "--peers", "eight", "--split", "all"]
    arguments += ["--max_videos", "6"]
    assert main([*arguments, "--windows", "all", "--output", str(out)]) == 0
    said = capsys.readouterr()
    found = json.loads(out.read_text())
    rows = {(row["model"], row["output"]): row for row in found["rows"]}
    assert (found["clips"], found["videos"], len(found["bad_files"])) == (12, 6, 2)
    assert "left out: a.mp4" in said.err
    assert "LPIPS is left out" in said.err
    one, two, eight = (rows[name, "reconstruction"] for name in ("one", "two", "eight levels"))
    assert {**one, "model": ""} == {**two, "model": ""}
    pixels = 4 * 24 * 24
    assert one["values"] == rows["one", "structure"]["values"] + rows["one", "dynamics"]["values"]
    assert one["rate"] == pytest.approx(one["values"] / (3 * pixels))
    assert one["bits_per_pixel"] == pytest.approx(16 * one["values"] / pixels)
    assert (eight["values"], eight["rate"], eight["bits_per_pixel"], eight["overhead"]) == (None, None, 9, 8)
    assert eight["psnr"]["mean"] > 20 > one["psnr"]["mean"]  # the weights are random
    assert found["quoted"]["rows"][-1]["model"] == "VidTwin"

    lines = list(csv.DictReader(out.with_name("figures.csv").read_text().splitlines()))
    of_eight = [float(line["psnr"]) for line in lines if line["model"] == "eight levels"]
    assert len(of_eight) == 12
    assert sum(of_eight) / 12 == pytest.approx(eight["psnr"]["mean"], rel=1e-4)
    for ending in ("-time.png", "-rate.png", *(f"-strips-{number}.png" for number in (1, 2, 3))):
        assert out.with_name(f"figures{ending}").stat().st_size > 1000


def test_an_interrupted_comparison_measures_what_is_missing(weights, folder, tmp_path, monkeypatch):
    out = tmp_path / "figures.json"
    arguments = [str(folder), "--max_videos", "2", "--split", "train", "--no_lpips"]
    arguments += ["--weights", f"one={weights}", f"two={weights}"]
    measured = []

    def stopped(outputs_of, loader, metrics, device, what):
        measured.append(what)
        if measured.count("two") == 1 and what == "two":
            raise KeyboardInterrupt
        return measure(outputs_of, loader, metrics, device, what)

    monkeypatch.setattr(subjects, "measure", stopped)
    assert main([*arguments, "--output", str(out)]) == 130
    assert not out.exists()
    assert main([*arguments, "--output", str(out)]) == 0
    assert measured == ["no model", "one", "two", "two"]
    assert main([*arguments, "--output", str(tmp_path / "whole.json")]) == 0
    assert json.loads(out.read_text()) == json.loads((tmp_path / "whole.json").read_text())
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".parts")]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "stand_in.pt"
    torch.jit.script(StandIn()).save(path)
    return str(path)


def test_peers_of_one_kind_have_names_and_other_weights_are_measured_anew(model, folder, tmp_path, monkeypatch):
    """Stopped before its last peer, a comparison goes on after the weights of its first have been trained further."""
    save_model(model, tmp_path / "a")
    save_model(model, tmp_path / "b")
    small(tmp_path / "peer", 0)
    arguments = [
        str(folder),
        "--no_lpips",
        "--frames",
        "4",
        "--size",
        "24",
        "24",
        "--split",
        "train",
        "--max_videos",
        "2",
    ]
    arguments += ["--peers", f"a=fp16:{tmp_path}/a", f"b=fp16:{tmp_path}/b", f"tiny:{tmp_path}/peer", "h264:crf=30"]
    arguments += ["--output", str(tmp_path / "found.json")]
    measured = []

    def stopped(outputs_of, loader, metrics, device, what):
        measured.append(what)
        if measured.count(last) == 1 and what == last:
            raise KeyboardInterrupt
        return measure(outputs_of, loader, metrics, device, what)

    last = "H.264 CRF 30"
    monkeypatch.setattr(subjects, "measure", stopped)
    assert main(arguments) == 130
    torch.manual_seed(1)
    save_model(VidTwin.from_config(model.config), tmp_path / "a")
    small(tmp_path / "peer", 1)
    assert main(arguments) == 0
    assert measured == ["no model", "a", "b", "tiny", last, "a", "tiny", last]
    assert main([*arguments[:-1], str(tmp_path / "whole.json")]) == 0
    found, whole = (json.loads((tmp_path / f"{name}.json").read_text())["rows"] for name in ("found", "whole"))
    assert found == whole
    assert [row["model"] for row in found] == ["no model", "a", "b", "tiny", last]
    assert found[1]["psnr"] != found[2]["psnr"]


def small(folder, seed):
    """An autoencoder of diffusers with random weights."""
    from diffusers import AutoencoderTiny

    torch.manual_seed(seed)
    one = {"encoder_block_out_channels": (8,), "decoder_block_out_channels": (8,)}
    save_model(AutoencoderTiny(**one, num_encoder_blocks=(1,), num_decoder_blocks=(1,)), folder)


def test_fvd_is_that_of_the_same_videos_in_files_and_outlives_an_interruption(
    network, folder, tmp_path, peers, monkeypatch, capsys
):
    clips = WindowDataset(open_part(folder, "all", 1, None), 10, 8.0, (24, 24))
    real = torch.stack([clips[place]["video"] for place in range(len(clips))])
    sides = {"real": real, "eight levels": to_uint8(Quantised()(to_float(real)).video)}
    sides["mean frame"] = to_uint8(to_float(real).mean(2, keepdim=True)).expand_as(real)
    for name, side in sides.items():
        np.save(tmp_path / f"{name}.npy", rearrange(side, "n c t h w -> n t h w c").numpy())
    given = ["--frames", "10", "--features", network, "--output", str(tmp_path / "fvd.json")]
    expected = {}
    for name in ("eight levels", "mean frame"):
        assert fvd([str(tmp_path / "real.npy"), str(tmp_path / f"{name}.npy"), *given, "--resamples", "0"]) == 0
        expected[name] = json.loads((tmp_path / "fvd.json").read_text())["fvd"]

    measured = []

    def stopped(outputs_of, loader, metrics, device, what):
        measured.append(what)
        if measured == ["no model", "eight levels"]:
            raise KeyboardInterrupt
        return measure(outputs_of, loader, metrics, device, what)

    monkeypatch.setattr(subjects, "measure", stopped)
    arguments = [str(folder), "--peers", "eight", "--split", "all", "--size", "24", "24", "--no_lpips", *given]
    assert main(arguments) == 130
    capsys.readouterr()
    assert main(arguments) == 0
    assert measured == ["no model", "eight levels", "eight levels"]
    found = json.loads((tmp_path / "fvd.json").read_text())
    assert [row["fvd"] for row in found["rows"]] == pytest.approx([expected["mean frame"], expected["eight levels"]])
    assert (found["fvd"]["clips"], found["fvd"]["verified"]) == (12, False)
    said = capsys.readouterr()
    assert f"{expected['eight levels']:.2f}" in said.out
    assert "12 clips give 400 features a singular covariance" in said.err
    assert "fvd" not in (tmp_path / "fvd.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--frames", "9"], "clips of at least 10 frames"), (["--max_videos", "1"], "at least 2 clips, there is 1")],
)
def test_clips_that_have_no_fvd_get_none(network, folder, tmp_path, peers, capsys, arguments, message):
    given = ["--peers", "eight", "--size", "24", "24", "--no_lpips", "--features", network, *arguments]
    assert main([str(folder), *given, "--output", str(tmp_path / "found.json")]) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "FVD is left out" in line]
    assert message in line
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["fvd"] for row in found["rows"]] == [None, None]


@pytest.mark.full
def test_processes_measure_what_one_does(launch, weights, folder, tmp_path):
    """Three processes, of which the last has no clip of the two batches."""
    arguments = [str(folder), "--weights", f"one={weights}", "--split", "all", "--no_lpips", "--no_parts"]
    arguments += ["--max_videos", "3", "--batch_size", "2", "--output"]
    assert main([*arguments, str(tmp_path / "one.json")]) == 0
    done = launch("eval.reconstruction", *arguments, str(tmp_path / "three.json"), ranks=3)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("3 clips of") == 1
    one, three = (json.loads((tmp_path / f"{ranks}.json").read_text()) for ranks in ("one", "three"))
    assert {**one, "rows": []} == {**three, "rows": []}
    assert [row["values"] for row in one["rows"]] == [row["values"] for row in three["rows"]]
    for metric in ("psnr", "ssim", "temporal_psnr"):
        for a, b in zip(one["rows"], three["rows"], strict=True):
            assert b[metric] == pytest.approx(a[metric], rel=1e-4)
    clips = [clip_names(tmp_path / f"{ranks}.csv") for ranks in ("one", "three")]
    assert clips[0] == clips[1]
    assert len(clips[0]) == 6


def clip_names(path):
    return [
        (line["model"], line["video"], line["first_frame"]) for line in csv.DictReader(path.read_text().splitlines())
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["VIDEOS", "--weights", "nowhere"], "nowhere holds no weights"),
        (["nowhere", "--weights", "WEIGHTS"], "there is no folder nowhere"),
        (["VIDEOS", "--weights", "WEIGHTS", "--batch-size", "0"], "must be positive"),
        (["VIDEOS", "--weights", "WEIGHTS", "--frames", "1"], "at least 2"),
        (["VIDEOS", "--weights", "WEIGHTS", "--no_lpips", "--size", "32", "24"], "takes clips of 4x24x24, not 4x32x24"),
        (["VIDEOS", "--weights", "WEIGHTS", "WEIGHTS", "--no_lpips"], "name one of them: NAME=WEIGHTS"),
        (
            ["VIDEOS", "--no_lpips", "--peers", "int8:a", "x=int8:c", "int8:b"],
            "called int8; name one of them: NAME=int8:b",
        ),
        (
            ["VIDEOS", "--no_lpips", "--peers", "x=h264:crf=5", "x=jpeg:bits=9"],
            "called x; name one of them: NAME=jpeg:b",
        ),
        (["VIDEOS", "--no_lpips", "--peers", "x=h265:crf=5"], "h265:crf=5: there is no coder h265; did you mean h264?"),
        (["VIDEOS", "--weights", "WEIGHTS", "--classifier", "CLASSIFIER"], "has no classes"),
        (["VIDEOS", "--weights", "WEIGHTS", "--no_lpips", "--features", "nowhere"], "there is no file nowhere"),
        (["VIDEOS", "--weights", "WEIGHTS", "--feature_network", "videomae"], "needs its file: --features FILE"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(weights, folder, tmp_path, capsys, arguments, message):
    save_classifier(MotionClassifier(3), tmp_path)
    places = {"VIDEOS": str(folder), "WEIGHTS": weights, "CLASSIFIER": str(tmp_path)}
    assert main([places.get(argument, argument) for argument in arguments]) == 2
    said = [line for line in capsys.readouterr().err.strip().splitlines() if "clips/s" not in line]
    assert len(said) == 1
    assert message.replace("WEIGHTS", weights) in said[0]
