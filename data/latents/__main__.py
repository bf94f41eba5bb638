"""`python -m data.latents`: see `data.latents.cache`."""

import sys

from data.latents.cache import main

if __name__ == "__main__":
    sys.exit(main())
