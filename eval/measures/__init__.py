"""Measures: means over a data set, joints of windows, cost of models.

May import `autoencoder`, `generator`, `data` and `runtime`, and no command of `eval`.
"""
