"""The parts of VidTwin: transformer, structure, dynamics, posterior, and the paper's ablations of them.

May import `autoencoder.config`, `data.latents` and `runtime.errors`; `autoencoder.model` puts them together.
"""
