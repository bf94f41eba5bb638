"""The parts of the DiT: positions, attention, blocks. Nothing here knows of latents, classes or noise levels.

May import `runtime`.
"""
