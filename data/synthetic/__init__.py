"""The built-in data set: looks, motions, how a clip is filmed, and a data set of them in UCF-101's own shape.

May import `runtime`; nothing but tests and `python -m data.synthetic` imports it: all else reads its files.
"""
