"""Stage two: twin latents as tokens, the diffusion transformer over them, its training, and sampling.

May import `autoencoder`, `data` and `runtime`.
"""
