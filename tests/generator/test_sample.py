"""A folder of samples holds those of the last sampling, and what others put there."""

import torch

from generator.sample import SETTINGS, remove_earlier, write_for_the_eye
from runtime.files import write_json


def sampled(out, labels):
    remove_earlier(out)
    tensors = {"videos": torch.zeros(len(labels), 2, 16, 16, 3, dtype=torch.uint8), "labels": torch.tensor(labels)}
    write_json(out / SETTINGS, {"videos": write_for_the_eye(out, tensors, ("Walk", "Swim"), 8.0)})
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*/*") if path.is_file())


def test_an_earlier_sampling_leaves_nothing_behind(tmp_path):
    assert sampled(tmp_path, [0, 1, 0]) == ["Swim/00001.mp4", "Walk/00000.mp4", "Walk/00002.mp4"]
    assert sampled(tmp_path, [0]) == ["Walk/00000.mp4"]
    assert not (tmp_path / "Swim").exists()
    (tmp_path / "Walk" / "mine.mp4").write_text("not of the sampler")
    assert sampled(tmp_path, [1]) == ["Swim/00000.mp4", "Walk/mine.mp4"]
