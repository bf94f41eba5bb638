"""The twin latents of a clip, and the cache that holds those of a data set.

`twins` is the seam of the project: what `encode` returns, the cache stores, the generator models and `decode` takes.
`plan`, `writer` and `shard` write a cache, `cache`, `rows`, `mapped` and `source` read it, `neighbours` finds the clips
that follow one another. May import `runtime` and `data`; autoencoder, generator and eval import it.
`python -m data.latents info|verify` is the command.
"""

from data.latents.cache import LatentCache
from data.latents.twins import TwinLatents

__all__ = ["LatentCache", "TwinLatents"]
