"""Stage one: VidTwin, its training, its latents, and what a trained one does.

Here: the model as the paper's figure draws it (`model`, `config`), the released checkpoint (`release`), and the
commands (`train`, `cache`, `reconstruct`, `bench`). `network` holds the model's parts, `losses` what it minimises,
`stage1` what makes a training run, `trained` what is done with a trained model. May import `data` and `runtime`.
"""
