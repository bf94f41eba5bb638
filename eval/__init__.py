"""What is measured of models, and shown.

Commands that measure: `fvd`, `reconstruction`, `cost`, `classifier`, `decoupling`; what they are made of lies in
`measures`, `metrics` (torchmetrics' interface), `coders` (whatever gives clips back) and `reconstructions`, of `fvd` in
`distances`, `features` (of networks) and `videos` (to measure), and of the last in `twins`. `pseudo_dit` and `plan`
count what others' latents and whole projects cost; their parts lie in `costs`.
`pictures` and `players` draw. `report` measures a run and writes a page of it, which `page` makes; `demo` runs the
whole line; `check` runs everything on a GPU, its parts lie in `checks`. May import everything below.
"""
