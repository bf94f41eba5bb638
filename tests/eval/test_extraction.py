"""From videos to features: order, failures, and the rate beside the bare network's."""

import threading
import time

import pytest
import torch
from torch import Tensor, nn

from eval.features.ahead import ahead
from eval.features.cache import FeatureCache
from eval.features.extract import Extractor
from eval.features.i3d import I3D
from eval.videos.open import open_source
from eval.videos.window import Window, order_of

# torch marks TorchScript as deprecated; the published network exists in no other form.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")


def test_work_ahead_keeps_its_order_and_its_distance():
    begun, lock = [], threading.Lock()

    def work(item):
        time.sleep(0.02 * (item % 3 == 0))
        with lock:
            begun.append(item)
        return item

    done = ahead(work, range(30), workers=4, depth=6)
    taken = [next(done) for _ in range(5)]
    time.sleep(0.2)
    assert len(begun) <= 5 + 6
    assert taken + list(done) == list(range(30))


def test_a_failure_ahead_reaches_who_takes_the_results():
    def work(item):
        if item == 3:
            raise OSError("broken")
        return item

    done = ahead(work, range(9), workers=2, depth=4)
    assert [next(done) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(OSError, match="broken"):
        list(done)


class AtCost(nn.Module):
    """The I3D's signature and about its cost: 23 of its 27 billion products for 16 frames of 224×224."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(64, 192, 3, 1, 1), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
            nn.Conv3d(192, 256, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1),
        )  # fmt: skip
        self.head = nn.Linear(256, 400)

    def forward(self, x: Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False) -> Tensor:
        return self.head(self.layers(x).flatten(1))


@pytest.mark.full
def test_extraction_keeps_nine_tenths_of_the_bare_networks_rate(builtin_set, tmp_path):
    """Decoding, hashing and waiting beside it, on a CPU; in turns, since the machine may do other things as well."""
    torch.jit.script(AtCost()).save(tmp_path / "at_cost.pt")
    network, source = I3D(tmp_path / "at_cost.pt"), open_source(builtin_set / "UCF-101", Window())
    order, count, batch = order_of(source.total, 0), 16, 4
    frames = torch.stack([clip.frames() for clip in source.clips(sorted(order[:count]), (224, 224))])

    def bare():
        return torch.cat([network(part) for part in frames.split(batch)])

    def whole():
        extractor = Extractor(network, FeatureCache(None, network), batch, workers=1)
        return extractor(source, order, count, (224, 224), "rate").features

    def seconds(work):
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    torch.testing.assert_close(whole(), bare())
    pairs = [(seconds(bare), seconds(whole)) for _ in range(3)]
    ratio = max(alone / together for alone, together in pairs)
    print(f"bare {count / min(alone for alone, _ in pairs):.2f} videos/s, ratios {[a / b for a, b in pairs]}")
    assert ratio > 0.9
