"""The one exception that means "the user can put this right"."""


class UserError(ValueError):
    """A mistake in what the user gave: one line that says what is wrong and what to do.

    Scripts print it on stderr without a traceback and exit 2 (see `runtime.script`).
    """
