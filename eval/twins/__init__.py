"""What the twin latents hold: factors of clips, judges of them, swaps and how they follow, linear probes, flow.

The parts of `eval.decoupling`. May import `eval.measures`, `eval.classifier` and what lies below `eval`.
"""
