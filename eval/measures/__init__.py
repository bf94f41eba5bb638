"""Measures: which clips are evaluated, joints of windows, errors of denoising, cost of models.

May import `autoencoder`, `generator`, `data` and `runtime`, and no command of `eval`.
"""
