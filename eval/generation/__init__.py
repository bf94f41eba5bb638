"""Commands that measure a generator: its settings, one latent for the other, samples longer than a window.

They may import what `eval.report` opens a run with, `eval.classifier`, `eval.measures`, `eval.pictures` and what lies
below `eval`.
"""
