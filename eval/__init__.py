"""What is measured of models, and shown.

Commands that measure: `fvd`, `reconstruction`, `cost`, `classifier`; what they are made of lies in `measures`.
`fvd` is made of `distances`, with `metrics`, `features` of networks, and `videos` to measure.
`pictures` draws. `report` and `demo` run the others; `check` runs everything on a GPU, its parts lie in `checks`. May
import everything below.
"""
