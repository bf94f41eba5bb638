"""A stage-one run: its configuration, the clips it sees, the weights it starts from.

May import the model, its losses, `data` and `runtime`; `autoencoder.train` is the loop.
"""
