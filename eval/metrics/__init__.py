"""Metrics with torchmetrics' interface, and the mathematics of those that torchmetrics has not.

`gaussian`, `mmd` and `resampling` are functions of features and need no torchmetrics, whose import takes seconds; the
others are `torchmetrics.Metric`s and find the other processes themselves. May import `eval.features`, `eval.measures`
and what lies below `eval`; no command of `eval`.
"""
