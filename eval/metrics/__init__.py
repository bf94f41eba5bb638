"""Metrics of videos as `torchmetrics.Metric`s: what torchmetrics has is taken from it, the rest has its interface.

Each is updated with batches on any number of processes and gathered over them by `compute`. `gaussian`, `mmd` and
`resampling` are functions of features and need no torchmetrics, whose import takes seconds. May import `eval.features`,
`eval.measures` and what lies below `eval`; no command of `eval`.
"""
