"""`python -m data.shards`: see `data.shards.pack`."""

import sys

from data.shards.pack import main

if __name__ == "__main__":
    sys.exit(main())
