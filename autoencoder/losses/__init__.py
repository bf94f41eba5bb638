"""What stage one minimises: the terms, the networks behind LPIPS and the GAN, and the objective that weighs them.

May import the model and `runtime`.
"""
