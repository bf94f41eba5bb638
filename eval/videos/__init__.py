"""Where the videos of a distance come from, which of them are taken, and which of their frames.

May import `data`, `generator.samples` and `runtime`; no command of `eval`.
"""
