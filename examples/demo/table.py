"""Prints what the demo did in each language, and whether all of them hold the same."""

import json
import pathlib
import sys


def main() -> int:
    rows = [json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:]]
    print(f"{'language':<10}{'entries':>9}{'locks':>9}{'expired':>9}{'seconds':>9}  digest")
    for row in rows:
        counts = f"{row['entries']:>9}{row['locks']:>9}{row['expired']:>9}{row['seconds']:>9.2f}"
        print(f"{row['language']:<10}{counts}  {row['digest']}")
    fields = ("entries", "locks", "expired", "digest")
    if len({tuple(row[field] for field in fields) for row in rows}) != 1 or len(rows) != 4:
        print("the languages differ", file=sys.stderr)
        return 1
    print("all four languages hold the same contents")
    return 0


if __name__ == "__main__":
    sys.exit(main())
