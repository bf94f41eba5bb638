"""What is measured of models, and shown.

Commands that measure: `fvd`, `reconstruction`, `cost`, `classifier`, `decoupling`; what they are made of lies in
`measures`, and of the last in `twins`.
`pictures` draws. `report` and `demo` run the others; `check` runs everything on a GPU, its parts lie in `checks`. May
import everything below.
"""
