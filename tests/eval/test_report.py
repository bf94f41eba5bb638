"""The demo's report puts its models and videos on one device."""

import torch

from eval.report import open_autoencoder
from runtime import distributed


def test_the_autoencoder_is_where_the_classifier_goes(stage1_run, monkeypatch):
    monkeypatch.setattr(distributed, "device", lambda: torch.device("meta"))
    assert {tensor.device.type for tensor in open_autoencoder(stage1_run).state_dict().values()} == {"meta"}
