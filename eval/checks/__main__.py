"""`python -m eval.checks NAME OUT DEVICE`: one check, in this process; its result is `OUT/logs/NAME.json`."""

import sys
from dataclasses import asdict
from pathlib import Path

from eval.checks.check import CheckError, Place
from eval.checks.table import checks
from runtime.files import write_json


def main(name: str, out: str, device: str) -> int:
    (check,) = (check for check in checks(device) if check.name == name)
    place = Place(Path(out), device)
    try:
        found = check.function()(place)
    except CheckError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_json(place.result(name), asdict(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
