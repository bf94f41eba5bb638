"""Measures: the Fréchet distance and the features and videos it is taken of, which clips are evaluated, cost of models.

May import `autoencoder`, `generator`, `data` and `runtime`, and no command of `eval`.
"""
