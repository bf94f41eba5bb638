"""The acceptance run on a device: what is checked and measured, and how the rows are run.

`check` is the vocabulary, `schedule` runs checks as processes under limits, `small` starts the project's own commands
at small sizes. `behaviour`, `signals` and `equality` check; `speed`, `generator_step`, `parts` and `attention` measure.
`table` lists them all, `screen` shows them. Everything is started from `eval.check`; each check comes to life in a
process of its own (`python -m eval.checks NAME OUT DEVICE`).
"""
