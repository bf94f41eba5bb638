"""What the command `eval.fvd` is made of: its two sides, its figures and their spread, and the words that repeat it.

May import `eval.metrics`, `eval.features`, `eval.videos` and what lies below `eval`; no command of `eval`.
"""
