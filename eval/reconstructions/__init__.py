"""What `eval.reconstruction` is made of: what gives clips back, the loop that measures it, results, figures, quotes.

May import `eval.metrics`, `eval.measures`, `eval.features`, `eval.coders` and what lies below `eval`; no command of
`eval`.
"""
