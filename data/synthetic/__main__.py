"""`python -m data.synthetic`: see `data.synthetic.dataset`."""

import sys

from data.synthetic.dataset import main

if __name__ == "__main__":
    sys.exit(main())
