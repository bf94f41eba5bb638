"""Metrics of features: alone, in a collection, and on two processes."""

import json

import pytest
import torch

from data.video.frames import to_float
from eval.metrics.gaussian import fit, frechet_distance
from eval.metrics.mmd import kernel_distance
from runtime.errors import UserError

DIM = 12

TWO = """
import json, sys, torch
from eval.metrics.frechet import FrechetDistance
from eval.metrics.kernel import KernelDistance
from runtime import distributed
with distributed.processes():
    distances = FrechetDistance(12), KernelDistance(12)
    real, generated = (part.double() for part in torch.load(sys.argv[1]))
    mine = slice(0, 17) if distributed.is_main() else slice(17, None)
    for distance in distances:
        distance.update(target=real[mine])
        if distributed.is_main():  # one process has all of a side
            distance.update(preds=generated)
    found = [distance.compute().item() for distance in distances]
    if distributed.is_main():
        print(json.dumps(found))
"""


def features(n, seed, offset=0.0):
    return torch.randn(n, DIM, generator=torch.Generator().manual_seed(seed)) + offset


@pytest.fixture
def metrics():
    from eval.metrics.frechet import FrechetDistance
    from eval.metrics.kernel import KernelDistance

    return FrechetDistance(DIM), KernelDistance(DIM)


def test_two_processes_give_what_one_does_when_one_has_all_of_a_side(start_ranks, tmp_path):
    real, generated = features(40, 0, offset=1e4), features(25, 1, offset=1e4)  # where sums about zero lose digits
    torch.save([real, generated], tmp_path / "features.pt")
    ranks = start_ranks("-c", TWO, str(tmp_path / "features.pt"), ranks=2)
    (out, err), _ = (process.communicate() for process in ranks)
    assert [process.returncode for process in ranks] == [0, 0], err
    found = json.loads(out.strip().splitlines()[-1])
    assert found[0] == pytest.approx(frechet_distance(fit(real), fit(generated)), rel=1e-9)
    assert found[1] == pytest.approx(kernel_distance(real, generated), rel=1e-9)


def test_batches_of_a_collection_give_the_distance_of_all(metrics):
    from torchmetrics import MetricCollection

    real, generated = features(30, 0), features(30, 1, offset=0.5)
    collection = MetricCollection(list(metrics))
    for pair in zip(generated.split(7), real.split(7), strict=True):
        collection.update(*pair)
    found = collection.compute()
    assert found["FrechetDistance"] == pytest.approx(frechet_distance(fit(real), fit(generated)), rel=1e-9)
    assert found["KernelDistance"] == pytest.approx(kernel_distance(real, generated), rel=1e-9)


def test_a_metric_that_gave_its_result_takes_no_more_until_it_is_reset(metrics):
    for metric in metrics:
        metric.update(features(20, 1), features(20, 0))
        first = metric.compute()
        with pytest.raises(UserError, match=r"has given its result; reset\(\) it"):
            metric.update(features(20, 2))
        metric.reset()
        metric.update(features(20, 1), features(20, 0))
        assert metric.compute() == first


def test_a_side_without_features_is_an_error_and_not_a_number(metrics):
    for metric in metrics:
        metric.update(preds=features(20, 1))
        with pytest.raises(UserError, match="at least 2 samples on each side"):
            metric.compute()


class Means:
    """A feature network: the mean of each frame and channel."""

    name, dim = "means", 9

    def __call__(self, videos):
        return videos.float().mean((2, 3)).flatten(1)


def test_fvd_takes_videos_as_models_give_them_and_rounds_them_as_files_do():
    from eval.metrics.fvd import FrechetVideoDistance

    whole = torch.randint(256, (2, 20, 3, 3, 4, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    metric = FrechetVideoDistance(Means())
    for generated, real in zip(*(side.split(6) for side in to_float(whole) + 0.003), strict=True):
        metric.update(generated.clamp(-1, 1), real.clamp(-1, 1))
    by_hand = [fit(Means()(side.permute(0, 2, 3, 4, 1))) for side in whole]
    assert metric.compute() == pytest.approx(frechet_distance(*by_hand), rel=1e-9)
    metric.reset()
    for wrong in (whole[0], whole[0].float(), to_float(whole[0]) * 1.1):
        with pytest.raises(UserError, match=r"must be floats in \[-1, 1\], not"):
            metric.update(wrong)


def test_fvd_stands_beside_the_metrics_of_single_clips():
    from eval.metrics.collection import clip_metrics, together
    from eval.metrics.fvd import FrechetVideoDistance

    target, preds = torch.rand(2, 4, 3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    metrics = together({**clip_metrics(), "fvd": FrechetVideoDistance(Means())})
    metrics.update(preds=preds, target=target)
    alone = FrechetVideoDistance(Means())
    alone.update(preds, target)
    found = metrics.compute()
    assert found["fvd"] == alone.compute()
    assert {"psnr", "ssim", "temporal_psnr"} < set(found)
