"""The app: a trained run to touch in the browser.

`python -m app` opens weights (`weights`) and serves a page (`page`, `theme`) with the four `tabs`. Behind them stand
functions that know no Gradio: they take videos apart (`parts`), exchange latents (`swaps`), draw videos (`samples`) and
show latents (`maps`, `readings`), of files that `uploads` has let in or of `examples`. May import everything below.
"""
