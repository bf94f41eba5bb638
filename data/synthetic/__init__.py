"""The built-in data set: looks, motions, how a clip is filmed, and a data set of them in UCF-101's own shape.

May import `runtime`. All else reads its files, the factors of its clips by `factors.read_factors`; only tests and
`python -m data.synthetic` film.
"""
