"""What generators cost on the latents of others' tokenizers, and what a whole project costs.

`tokenizers` is the table of published geometries, `pseudo_dit` the transformer of VidTwin's Figure 5 over it, `claims`
what the paper says of it, `bars` the picture; `eval.pseudo_dit` is the command. `hardware`, `dataset`, `shares`,
`traffic`, `stages`, `disk` and `project` plan a project, `basis` says what the plan rests on; `eval.plan` is the
command. May import `eval.measures` and everything below `eval`, and no command of it.
"""
