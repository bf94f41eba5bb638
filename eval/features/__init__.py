"""Features of videos: the networks that give them, their cache, and files of them.

May import `eval.videos`, `eval.measures` and what lies below `eval`; no command of `eval`.
"""
