"""FVD from files to figure, with a small network of the I3D's signature in its place."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from data.video.frames import decode_all, probe, write_video
from eval.features.i3d import I3D
from eval.fvd import main
from eval.metrics.gaussian import fit, frechet_distance


class StandIn(nn.Module):
    """The signature of the I3D; 400 smooth functions of pixel means in 4×5×5 cells."""

    def __init__(self):
        super().__init__()
        numbers = torch.Generator().manual_seed(0)
        self.register_buffer("mix", torch.randn(300, 400, generator=numbers))

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        if rescale or resize or not return_features:
            raise ValueError("called in another way than FVD calls the I3D")
        if x.shape[3] != 224 or x.shape[4] != 224 or x.abs().max() > 1.0001:  # interpolation rounds
            raise ValueError("not what the I3D takes")
        return torch.tanh(F.adaptive_avg_pool3d(x, [4, 5, 5]).flatten(1) @ self.mix)


# torch marks TorchScript as deprecated; the published network exists in no other form.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "stand_in.pt"
    torch.jit.script(StandIn()).save(path)
    return path


def videos(n, seed, t=16, h=24, w=32):
    return torch.randint(256, (n, t, h, w, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def distance(network, real, generated):
    return frechet_distance(*(fit(I3D(network)(side)) for side in (real, generated)))


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, capsys.readouterr()


def test_arrays_of_both_kinds_give_the_direct_figure_in_json(network, tmp_path, capsys):
    real, generated = videos(9, 0), videos(7, 1)
    np.savez_compressed(tmp_path / "real.npz", videos=real.numpy())
    (tmp_path / "samples").mkdir()
    save_file({"videos": generated}, tmp_path / "samples" / "samples.safetensors")
    out = tmp_path / "results" / "fvd.json"
    code, said = run(
        capsys, tmp_path / "real.npz", tmp_path / "samples", "--features", network, "--output", out, "--batch-size", 4
    )
    result = json.loads(out.read_text())
    assert code == 0
    assert result["fvd"] == pytest.approx(distance(network, real, generated), rel=1e-5)
    assert (result["num_real"], result["num_generated"], result["protocol"]) == (9, 7, "custom")
    assert result["features"]["file"] == "stand_in.pt"
    assert len(result["features"]["sha256"]) == 64
    assert result["verified"] is False
    assert "not that of the known I3D" in said.err
    assert "singular covariance" in said.err
    assert list(out.parent.iterdir()) == [out]


def test_folders_of_videos_take_windows_of_their_files_and_leave_bad_ones_out(network, tmp_path, capsys):
    for side, count in (("real", 4), ("generated", 3)):
        for i, video in enumerate(videos(count, 10 + count)):
            path = tmp_path / side / f"class{i % 2}" / f"{i}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, video, 25)
    write_video(tmp_path / "real" / "short.mp4", videos(1, 3)[0, :9], 25)
    (tmp_path / "real" / "broken.mp4").write_text("no video")
    out = tmp_path / "fvd.json"
    code, said = run(capsys, tmp_path / "real", tmp_path / "generated", "--features", network, "--output", out)
    result = json.loads(out.read_text())
    assert code == 0
    assert (result["num_real"], result["num_generated"]) == (4, 3)
    assert sorted(Path(name).name for name in result["real"]["left_out"]) == ["broken.mp4", "short.mp4"]
    assert "2 files" in said.out
    decoded = [
        torch.stack([decode_all(probe(path)) for path in sorted((tmp_path / side).rglob("class*/*.mp4"))])
        for side in ("real", "generated")
    ]
    assert result["fvd"] == pytest.approx(distance(network, *decoded), rel=1e-5)


def test_a_stride_is_the_same_on_both_sides(network, tmp_path, capsys):
    real = videos(5, 0, t=31)
    np.savez(tmp_path / "real.npz", videos=real.numpy())
    for i, video in enumerate(real[:, ::2]):
        write_video(tmp_path / f"{i}.mp4", video, 8)
    np.savez(tmp_path / "generated.npz", videos=real[:, :31].flip(0).numpy())
    out = tmp_path / "fvd.json"
    arrays = tmp_path / "real.npz", tmp_path / "generated.npz", "--features", network, "--output", out
    assert run(capsys, *arrays, "--frame-stride", 2)[0] == 0
    assert json.loads(out.read_text())["fvd"] == pytest.approx(0, abs=1e-3)


def test_frames_are_resized_in_float_without_antialiasing_to_the_full_range(network):
    small = videos(2, 0, h=48, w=64)
    frames = small.permute(0, 4, 1, 2, 3).double() / 127.5 - 1
    expected = F.interpolate(frames, (16, 224, 224), mode="trilinear", align_corners=False)
    direct = StandIn()(expected.float(), return_features=True)
    torch.testing.assert_close(I3D(network)(small), direct, rtol=1e-3, atol=1e-4)


def bad_inputs(tmp_path):
    np.savez(tmp_path / "good.npz", videos=videos(3, 0).numpy())
    np.savez(tmp_path / "float.npz", videos=np.zeros((3, 16, 24, 32, 3), np.float32))
    np.savez(tmp_path / "nine.npz", videos=videos(3, 0, t=9).numpy())
    np.savez(tmp_path / "large.npz", videos=videos(3, 0, h=48).numpy())
    np.savez(tmp_path / "one.npz", videos=videos(1, 0).numpy())
    (tmp_path / "text.npz").write_text("no array")
    (tmp_path / "empty").mkdir()
    return tmp_path / "good.npz"


@pytest.mark.parametrize(
    ("generated", "options", "message"),
    [
        ("nowhere", [], "no file or folder"),
        ("empty", [], "holds no videos"),
        ("text.npz", [], "no array 'videos'"),
        ("float.npz", [], "must be uint8"),
        ("nine.npz", [], "have 9 frames, a clip takes 16"),
        ("nine.npz", ["--frames", "9"], "at least 10 frames"),
        ("large.npz", [], "give both at one size"),
        ("one.npz", [], "at least 2 samples"),
        ("good.npz", ["--frames", "0"], "must be positive"),
        ("good.npz", ["--protocol", "styleganv-2048"], "give its folder"),
        ("good.npz", ["--features", "nowhere.pt"], "there is no file nowhere.pt: download i3d_torchscript.pt"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(network, tmp_path, capsys, generated, options, message):
    good = bad_inputs(tmp_path)
    code, said = run(capsys, good, tmp_path / generated, "--features", network, *options)
    assert code == 2
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert message in errors[0]


def test_a_protocol_that_wants_more_videos_than_there_are_says_so(network, tmp_path, capsys):
    videos_folder, lists = tmp_path / "set" / "UCF-101" / "Drift", tmp_path / "set" / "ucfTrainTestlist"
    videos_folder.mkdir(parents=True)
    lists.mkdir()
    for i, video in enumerate(videos(3, 0)):
        write_video(videos_folder / f"v_Drift_g01_c0{i}.mp4", video, 25)
    names = [f"Drift/v_Drift_g01_c0{i}.mp4" for i in range(3)]
    (lists / "classInd.txt").write_text("1 Drift\n")
    for split in ("train", "test"):
        (lists / f"{split}list01.txt").write_text("".join(f"{name} 1\n" for name in names))
    np.savez(tmp_path / "generated.npz", videos=videos(4, 1).numpy())
    sides = tmp_path / "set", tmp_path / "generated.npz", "--features", network
    code, said = run(capsys, *sides, "--protocol", "styleganv-2048")
    assert code == 2
    assert "needs 2048 real videos, there are 3" in said.err
    out = tmp_path / "fvd.json"
    assert run(capsys, *sides, "--protocol", "heldout", "--output", out)[0] == 0
    assert json.loads(out.read_text())["real"]["split"] == "test"


def test_without_the_network_the_error_says_what_it_is_and_where_it_goes(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("VIDTWIN_I3D", raising=False)
    good = bad_inputs(tmp_path)
    code, said = run(capsys, good, good)
    assert code == 2
    assert len(said.err.strip().splitlines()) == 1
    for needed in ("i3d_torchscript.pt", "common_metrics_on_video_quality", "--features", "VIDTWIN_I3D"):
        assert needed in said.err
