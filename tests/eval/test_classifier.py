"""The motion classifier learns motion, is reproducible, and comes back from disk as it was."""

import pytest
import torch

from eval.classifier import (
    MotionClassifier,
    TrainingConfig,
    accuracy,
    classifier_frechet,
    load_classifier,
    motion_views,
    save_classifier,
    train_classifier,
)
from runtime.errors import UserError

BRIEF = TrainingConfig(steps=30, batch_size=8)


def moving_bars(n, seed):
    """uint8 `n c t h w` of a bar that moves left to right (class 0) or top to bottom (class 1)."""
    numbers = torch.Generator().manual_seed(seed)
    clips, labels = torch.full((n, 3, 8, 32, 32), 90, dtype=torch.uint8), torch.arange(n) % 2
    for clip, label in zip(clips, labels, strict=True):
        start = int(torch.randint(8, (), generator=numbers))
        for t in range(8):
            place = slice(start + 2 * t, start + 2 * t + 4)
            clip[:, t, place if label else slice(None), slice(None) if label else place] = 220
    return clips, labels


@pytest.fixture(scope="module")
def trained():
    return train_classifier(*moving_bars(40, 0), num_classes=2, config=BRIEF)


def test_it_learns_which_way_bars_move(trained):
    assert accuracy(trained, *moving_bars(20, 1)) == 1


def test_training_twice_gives_equal_weights(trained):
    again = train_classifier(*moving_bars(40, 0), num_classes=2, config=BRIEF)
    for name, tensor in trained.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_saved_and_loaded_it_says_the_same(trained, tmp_path):
    save_classifier(trained, tmp_path / "classifier")
    video = torch.rand(2, 3, 8, 48, 40) * 2 - 1
    loaded = load_classifier(tmp_path / "classifier")
    assert torch.equal(loaded(video), trained(video))
    assert loaded.features(video).shape == (2, loaded.dim)
    with pytest.raises(UserError, match="holds no classifier"):
        load_classifier(tmp_path)


def test_views_of_a_still_clip_show_nothing_but_its_frames():
    still = torch.rand(1, 3, 1, 32, 32).expand(1, 3, 8, 32, 32)
    frames, to_mean, to_previous = motion_views(still).chunk(3, dim=1)
    assert torch.equal(frames, still)
    torch.testing.assert_close(to_mean, torch.zeros_like(still))
    torch.testing.assert_close(to_previous, torch.zeros_like(still))


def test_its_frechet_distance_tells_the_classes_apart(trained):
    clips, labels = moving_bars(40, 2)
    other, _ = moving_bars(40, 3)
    alike = classifier_frechet(trained, clips, other)
    apart = classifier_frechet(trained, clips[labels == 0], clips[labels == 1])
    assert apart > 10 * alike


def test_logits_take_any_size_and_length():
    model = MotionClassifier(5).eval()
    assert model(torch.zeros(2, 3, 4, 20, 70)).shape == (2, 5)
