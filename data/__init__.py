"""From files to batches of clips and of latents.

Here: which videos a data set has (`index`, `folder`, `ucf101`, `survey`), the clips cut from them and their order
(`clips`, `loader`, `collate`), metrics on pixels. `video` turns a file into frames, `shards` packs and reads sets
beyond one disk, `latents` is the cache of twin latents, `synthetic` the built-in data set. May import `runtime`.
"""
