"""Metrics of videos as `torchmetrics.Metric`s: what torchmetrics has is taken from it, the rest has its interface.

Each is updated with batches on any number of processes and gathered over them by `compute`. `gaussian` and `mmd` are
functions of features, which need no torchmetrics, whose import takes seconds. May import what lies below `eval`,
`eval.features` and `eval.measures`; no command of `eval`.
"""
