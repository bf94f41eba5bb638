"""VideoMAE-v2's features, in the form of cd-fvd (arXiv 2404.12391), which finds them less biased towards content."""

from pathlib import Path
from pickle import UnpicklingError

import torch
from einops import rearrange
from torch import Tensor

from eval.features.pixels import resized
from eval.features.vision_transformer import GIANT, VisionTransformer
from eval.features.weights import Weights, find_file
from runtime.errors import UserError
from runtime.files import sha256
from runtime.precision import full_precision

WEIGHTS = Weights(
    "vit_g_hybrid_pt_1200e_ssv2_ft.pth",
    "VIDTWIN_VIDEOMAE",
    "ViT-g of VideoMAE-v2 after Something-Something-v2, linked by github.com/songweige/content-debiased-fvd",
)
HEAD = "head."  # of the classes, which features do not reach


class VideoMAE:
    """uint8 videos `n 16 h w c` to the normalised mean of the last block's tokens, `n 1408` float32.

    Raises:
        UserError: no file, or a file without that network's tensors.
    """

    name, title, dim = "videomae", "VideoMAE-v2", GIANT["width"]
    known: frozenset[str] = frozenset()  # nobody has published the hash of the file
    transform = "224x224 bilinear without antialiasing or crop, values in [0, 1]"

    def __init__(self, path: str | Path | None = None, device: torch.device | str = "cpu") -> None:
        self.path = find_file(path, WEIGHTS)
        self.device = torch.device(device)
        self.sha256 = sha256(self.path)
        with torch.device("meta"):
            network = VisionTransformer(**GIANT)
        load(network, self.path)
        self.network = network.to(self.device).eval()

    def check(self, frames: int) -> None:
        if frames != GIANT["frames"]:
            raise UserError(f"VideoMAE-v2 takes clips of {GIANT['frames']} frames, these have {frames}")

    @full_precision()
    @torch.inference_mode()
    def __call__(self, videos: Tensor) -> Tensor:
        self.check(videos.shape[1])
        pixels = rearrange(resized(videos.to(self.device)), "n t c h w -> n c t h w") / 255
        return self.network(pixels).float().cpu()


def load(network: VisionTransformer, path: Path) -> None:
    """Fill a network, which may be on the meta device, from a checkpoint in VideoMAE-v2's names.

    Raises:
        UserError: no checkpoint, or missing, unknown or other tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        tensors = next((content[key] for key in ("model", "module") if key in content), content)
        network.load_state_dict({k: v for k, v in tensors.items() if not k.startswith(HEAD)}, assign=True)
    except (RuntimeError, UnpicklingError, ValueError, KeyError, TypeError, AttributeError, EOFError) as error:
        raise UserError(f"{path} does not hold VideoMAE-v2's weights; download {WEIGHTS.file} again") from error
