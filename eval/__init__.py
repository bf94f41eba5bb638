"""What is measured of models, and shown.

Commands that measure, and what they are made of beside `measures`, `metrics` (torchmetrics' interface) and `videos`:
`fvd` (`distances`, `features` of networks), `reconstruction` (`reconstructions`, `coders`: whatever gives clips back),
`decoupling` (`twins`), `cost`, `pseudo_dit` and `plan` (`costs`), `classifier`; of a generator `sweep`, `conditional`,
`continuation` and `ablation` (`ablations`). `pictures` and `players` draw. `report` measures a run and writes a page of
it, which `page` makes; `demo` runs the whole line; `check` runs everything on a GPU (`checks`). May import everything
below.
"""
