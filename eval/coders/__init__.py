"""What is measured beside our autoencoder, and it itself, behind one interface: clips in, clips and their cost out.

It may import `eval.measures` and what lies below `eval`; no command of `eval`.
"""
