"""What is done with a trained VidTwin: panels, changed latents, windows over long videos, a look into a cache.

May import the model, `autoencoder.stage1`, `data` and `runtime`.
"""
