"""Runs the cases with real processes; the last line counts them. Words: only cases whose titles contain one."""

import signal
import sys
import time
import traceback

import chaos
import endings
import joins
import networks
import races
from members import LANGUAGES, Cluster, Failed, Gone, Refused


def where(error):
    """The lines of the case that led to the error."""
    lines = traceback.extract_tb(error.__traceback__)[1:]
    return ", ".join(f"{line.name} {line.lineno}" for line in lines if "members.py" not in line.filename)


def title(part, case):
    return f"{part.__name__}: {case.__name__.replace('_', ' ')}"


def main(words):
    passed, failed = 0, []
    print("languages:", *LANGUAGES)
    for part in (races, endings, joins, networks, chaos):
        cases = [case for case in part.CASES if not words or any(word in title(part, case) for word in words)]
        hindrance = part.hindrance() if cases and hasattr(part, "hindrance") else None
        for case in cases:
            name = title(part, case)
            if hindrance:
                print(f"not run: {name}: {hindrance}", flush=True)
                continue
            started = time.monotonic()
            try:
                with Cluster() as cluster:
                    case(cluster)
            except (Failed, Gone, Refused) as error:
                failed.append(name)
                print(f"FAILED {name}: {error} ({where(error)})", flush=True)
            except Exception:
                failed.append(name)
                print(f"FAILED {name}", flush=True)
                traceback.print_exc()
            else:
                passed += 1
                print(f"ok     {name} ({time.monotonic() - started:.1f} s)", flush=True)
    for name in failed:
        print(f"FAILED {name}")
    print(f"Processes: {passed} passed, {len(failed)} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    # Also where it was started without: the members are to have it as usual.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What was made is removed then as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main(sys.argv[1:]))
