"""What is measured of models, and shown.

Commands that measure, and what they are made of beside `measures`, `metrics` (torchmetrics' interface) and `videos`:
`fvd` (`distances`, `features` of networks), `reconstruction` (`reconstructions`, `coders`: whatever gives clips back),
`decoupling` (`twins`), `cost`, `pseudo_dit` and `plan` (`costs`), `classifier`; of a generator those in `generation`,
and `ablation` (`ablations`). `report` measures a run, draws it (`pictures`) and writes a page of it (`page`); `demo`
runs the whole line; `check` runs everything on a GPU (`checks`). May import everything below.
"""
