"""Metrics of videos as `torchmetrics.Metric`s: what torchmetrics has is taken from it, the rest has its interface.

Each is updated with batches on any number of processes and gathered over them by `compute`. May import what lies below
`eval`, and `eval.measures`; no command of `eval`.
"""
