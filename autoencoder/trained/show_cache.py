"""A cache for the eye: some of its clips, decoded, beside the videos that they were encoded from."""

from pathlib import Path

import torch
from einops import rearrange
from PIL import Image
from torch import Tensor

from autoencoder.model import VidTwin
from autoencoder.stage1.clips import indexed
from autoencoder.stage1.config import Stage1Config
from data.latents import LatentCache, TwinLatents
from data.latents.clips import ChosenClips, ClipChoice
from data.video.frames import to_uint8, write_video
from runtime import distributed
from runtime.config import load
from runtime.errors import UserError
from runtime.options import OptionParser
from runtime.weights import load_model, weights_hash

COLUMNS = 4
DECODED_AT_ONCE = 4


def show(argv: list[str]) -> None:
    parser = OptionParser(prog="autoencoder.cache show", description="Decode some clips of a cache.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a cache, such as runs/demo/latents/train")
    parser.add_argument("--weights", type=Path, required=True, help="the autoencoder that wrote it")
    parser.add_argument("--num", type=int, default=16, metavar="N", help="clips, spread evenly over the cache")
    parser.add_argument("--out", type=Path, metavar="MP4", help="a PNG goes beside it (default: DIR.mp4)")
    args = parser.parse_args(argv)
    if args.num < 1:
        raise UserError("--num must be at least 1")
    cache = LatentCache(args.folder)
    model = load_model(VidTwin, args.weights).to(distributed.device())
    cache.require_autoencoder(weights_hash(model))
    chosen = torch.linspace(0, len(cache) - 1, min(args.num, len(cache))).round().long()
    pairs = torch.stack([originals(cache, chosen.tolist()), decoded(cache, model, chosen)])
    out = args.out or args.folder.with_name(f"{args.folder.resolve().name}.mp4")
    grid = paired_grid(pairs)
    write_video(out, grid, cache.manifest["fps"])
    Image.fromarray(grid[len(grid) // 2].numpy()).save(out.with_suffix(".png"))
    print(f"{out}, {out.with_suffix('.png').name}: {len(chosen)} clips, each original beside its decoded latents")


def originals(cache: LatentCache, chosen: list[int]) -> Tensor:
    """The clips that were encoded, uint8 `n c t h w`, found through the configuration of the cache's run."""
    config = cache.folder.resolve().parents[1] / "config.yaml"
    if not config.is_file():
        raise UserError(f"the videos behind {cache.folder} are found through {config}, which is missing")
    stage1, plan = load(Stage1Config, config), cache.manifest
    index, geometry = indexed(stage1.of_own_data, plan["split"]), plan["autoencoder_config"]
    choice = ClipChoice(geometry["frames"], plan["fps"], plan["clips_per_video"], plan["flipped"], plan["seed"])
    videos = choice.table(index)
    if videos.sha256() != plan["videos"]:
        raise UserError(f"{stage1.data.root} has changed since {cache.folder} was encoded: its clips are not found")
    clips = ChosenClips(index, choice, (geometry["height"], geometry["width"]), in_memory=False)
    return torch.stack([clips[videos.place(clip)]["video"] for clip in chosen])


@torch.inference_mode()
def decoded(cache: LatentCache, model: VidTwin, chosen: Tensor) -> Tensor:
    """What the cached means decode to, uint8 `n c t h w`."""
    device, videos = next(model.parameters()).device, []
    for part in chosen.split(DECODED_AT_ONCE):
        means = cache.read(part, [f"{latent}_mean" for latent in TwinLatents._fields])
        latents = TwinLatents(*(each.float() for each in means.values())).to(device)
        videos.append(to_uint8(model.decode(latents)).cpu())
    return torch.cat(videos)


def paired_grid(pairs: Tensor) -> Tensor:
    """`2 n c t h w` to one video `t H W c`, the two of a pair side by side."""
    columns = min(COLUMNS, pairs.shape[1])
    blank = pairs.new_full((2, -pairs.shape[1] % columns, *pairs.shape[2:]), 255)
    return rearrange(
        torch.cat([pairs, blank], dim=1),
        "two (rows columns) c t h w -> t (rows h) (columns two w) c",
        columns=columns,
    ).contiguous()
