"""Moving pictures of what trained models do, with a page that shows them: `python -m eval.gallery`.

`clips` chooses test clips, `autoencoder` and `generator` make the videos of each strip, `nearest` finds training clips
like them, `strip` lays videos out and keeps them within a number of bytes, `page` says what is seen.
"""
