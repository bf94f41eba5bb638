"""`python -m eval.checks NAME OUT DEVICE`: one check, in this process; its result is one line of JSON."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from eval.checks.check import CheckError, Place
from eval.checks.table import checks


def main(name: str, out: str, device: str) -> int:
    (check,) = (check for check in checks(device) if check.name == name)
    try:
        found = check.run(Place(Path(out), device))
    except CheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
