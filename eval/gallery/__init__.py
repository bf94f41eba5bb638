"""Moving pictures of what trained models do, with a page that shows them: `python -m eval.gallery`.

`clips` chooses test clips, `twins` and `samples` make the videos of each strip, `nearest` finds training clips
like them, `strip` lays videos out and keeps them within a number of bytes, `page` says what is seen.
"""
