"""A video file and its frames: what is in it, whether it is whole, decoding in every order, writing mp4.

`probe` and `inspector` need no torch, so that a process that looks into files starts at once. May import `runtime`;
everything above may import this.
"""
