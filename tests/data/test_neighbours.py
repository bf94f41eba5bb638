"""Which clips follow one another, against the frames that are read of the videos."""

from pathlib import Path

import pytest
import torch

from data.index import VideoIndex
from data.latents.clips import ClipChoice
from data.latents.neighbours import require_neighbours, windows_before
from data.latents.plan import VIDEOS
from data.video.probe import VideoInfo
from runtime.errors import UserError

RATES = [25.0, 29.97, 24.0, 8.0, 6.0, 30000 / 1001]


class Cache:
    """What `windows_before` looks at of a cache: the manifest, `first_frame`, and the table of videos."""

    def __init__(self, folder, choice, index):
        self.folder, table = folder, choice.table(index)
        (folder / VIDEOS).write_text(table.text())
        self.places = [table.place(clip) for clip in range(sum(table.clips))]
        self.windows = [choice.window(index.videos[video], video, number) for number, video in self.places]
        self.manifest = {
            "clips_per_video": choice.clips_per_video,
            "flipped": choice.flipped,
            "autoencoder_config": {"frames": choice.frames},
        }

    def __len__(self):
        return len(self.windows)

    def load(self, names):
        assert names == ["first_frame"]
        return {"first_frame": torch.tensor([round(start) for _, start, _ in self.windows])}


def index_of(frames, rates):
    clips = enumerate(zip(frames, rates, strict=True))
    infos = tuple(VideoInfo(Path(f"{i}.avi"), n, fps, 8, 8, False, ()) for i, (n, fps) in clips)
    names, labels = tuple(str(info.path) for info in infos), (0,) * len(infos)
    return VideoIndex(infos, names, labels, ("one",), ())


def by_hand(cache, index, choice):
    """Every pair of clips of a video, by the times at which their frames stand in it: -2 where rounding decides."""
    before = []
    for clip, (_, video) in enumerate(cache.places):
        length = choice.frames * index.videos[video].fps / choice.fps
        found = -1
        for other, (_, same) in enumerate(cache.places):
            if same != video or cache.windows[other][2] != cache.windows[clip][2]:
                continue
            gap = abs(cache.windows[other][1] + length - cache.windows[clip][1])
            if gap < 1e-6:
                found = other
            elif gap < 3 and found < 0:
                found = -2
        before.append(found)
    return before


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("count", [4, 16])
def test_pairs_are_those_whose_times_meet(tmp_path, count, flipped):
    numbers = torch.Generator().manual_seed(count)
    frames = torch.randint(5, 400, (60,), generator=numbers).tolist()
    index = index_of(frames, [RATES[i % len(RATES)] for i in range(60)])
    choice = ClipChoice(count, 8.0, "all", flipped, 0)
    cache = Cache(tmp_path, choice, index)
    found, expected = windows_before(cache).tolist(), by_hand(cache, index, choice)
    assert sum(each >= 0 for each in expected) > 60
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == theirs or theirs == -2
    for clip, other in enumerate(found):
        if other >= 0:  # the clip's first frame stands where the next one of the other would
            step = index.videos[cache.places[clip][1]].fps / choice.fps
            behind = int(cache.windows[clip][0][0]) - int(cache.windows[other][0][-1])
            assert abs(behind - step) <= 2.6


def test_a_last_window_that_just_meets_the_one_before_follows_it(tmp_path):
    """50 frames of the video each: videos of exactly 4 windows, and 10 frames shorter."""
    choice = ClipChoice(16, 8.0, "all", False, 0)
    cache = Cache(tmp_path, choice, index_of([197, 187], [25.0, 25.0]))
    assert windows_before(cache).tolist() == [-1, 0, 1, 2, -1, 4, 5, -1]


@pytest.mark.parametrize("clips", [1, 4])
def test_caches_of_other_windows_have_no_pairs(tmp_path, clips):
    cache = Cache(tmp_path, ClipChoice(4, 8.0, clips, False, 0), index_of([100], [25.0]))
    assert windows_before(cache).tolist() == [-1] * clips
    with pytest.raises(UserError, match="holds 0 clips that follow another and a step takes 2"):
        require_neighbours(cache, 2)
