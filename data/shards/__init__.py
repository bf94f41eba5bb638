"""WebDataset shards: packing a data set into them, and training clips read from them one after the other.

May import `runtime`, `data.video` and the clips and indices of `data`. `python -m data.shards pack` is the command.
"""
