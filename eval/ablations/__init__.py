"""What `eval.ablation` is made of: the list of variants, a cell's training and measuring, the table and the plot.

A cell is a variant with a seed.
"""
