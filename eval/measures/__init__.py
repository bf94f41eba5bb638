"""Measures: which clips are evaluated, cost of models.

May import `autoencoder`, `generator`, `data` and `runtime`, and no command of `eval`.
"""
