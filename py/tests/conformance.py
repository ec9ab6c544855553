"""Executes the conformance vectors through the public interface of the package."""

from __future__ import annotations

import base64
import json
import math
import os
import struct
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import minikv

HERE = Path(__file__).resolve().parent
FOLDER = Path(os.environ.get("MINIKV_VECTORS") or HERE.parent.parent / "core" / "conformance")
START_NS = 1_700_000_000_000 * 1_000_000
PATIENCE = 60.0
NONE: Any = object()


class Thrown(Exception):
    """What a vector's function raises."""


class Wrong(Exception):
    """A step did not give what it must."""


class Unknown(Exception):
    """The vector holds something that this runner does not know."""


def only(fields: dict[str, Any], known: set[str], where: str) -> None:
    unknown = set(fields) - known
    if unknown:
        raise Unknown(f"{where}: unknown {sorted(unknown)}")


def value_of(form: Any) -> Any:
    """A value as Python has it."""
    if isinstance(form, list):
        return [value_of(item) for item in form]
    if not isinstance(form, dict):
        return form
    if len(form) == 1:
        (name, argument), *_ = form.items()
        if name.startswith("$"):
            return special(name, argument)
    return {key: value_of(item) for key, item in form.items()}


def special(name: str, argument: Any) -> Any:
    match name:
        case "$int":
            return int(argument)
        case "$float":
            return float(argument)
        case "$bytes":
            return base64.b64decode(argument, validate=True)
        case "$map":
            return {value_of(key): value_of(item) for key, item in argument}
        case "$repeat":
            return argument[0] * argument[1]
        case "$nest":
            nested: list[Any] = []
            for _ in range(argument - 1):
                nested = [nested]
            return nested
        case "$utf16":
            units = struct.pack(f"<{len(argument)}H", *argument)
            return units.decode("utf-16-le", "surrogatepass")
    raise Unknown(f"form {name}")


def equal(a: Any, b: Any) -> bool:
    """Typed equality: floats by bits, NaNs equal, maps without order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return (math.isnan(a) and math.isnan(b)) or struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    return bool(a == b)


def millis(ms: Any) -> timedelta:
    return timedelta(milliseconds=ms)


class Case:
    """One case: a registry and what its steps have left behind."""

    def __init__(self, fields: dict[str, Any]) -> None:
        known = {"node", "default_ttl_ms", "lock_lease_ms", "max_value_bytes", "max_entries"}
        only(fields, known | {"max_bytes", "max_watchers"}, "registry")
        options: Any = {
            (name.removesuffix("_ms")): millis(value) if name.endswith("_ms") else value
            for name, value in fields.items()
            if value is not None
        }
        self.kv = minikv.Registry(clock="manual", **options)
        self.now = START_NS
        self.results: list[Any] = []
        self.saved: dict[str, Any] = {}
        self.watches: dict[str, minikv.Watch] = {}
        self.guards: dict[str, minikv.LockGuard] = {}
        self.scopes: list[minikv.LockScope] = []
        self.jobs: dict[str, tuple[threading.Thread, list[Any]]] = {}
        self.thrown = Thrown("thrown by the vector")

    # Arguments.

    def conditions(self, step: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if "owner" in step:
            found["owner"] = value_of(step["owner"])
        for name in ("fence", "if_version"):
            if name in step:
                found[name] = step[name]
            if f"{name}_of_step" in step:
                entry = self.results[step[f"{name}_of_step"]]
                found[name] = entry.fence if name == "fence" else entry.version
        return found

    def put_options(self, step: dict[str, Any]) -> dict[str, Any]:
        found = self.conditions(step)
        for name in ("persist", "keep_ttl", "if_absent", "lock"):
            if name in step:
                found[name] = step[name]
        for name in ("ttl", "lease", "wait"):
            if f"{name}_ms" in step:
                found[name] = millis(step[f"{name}_ms"])
        return found

    def change(self, form: Any) -> Any:
        def function(value: Any) -> Any:
            if form == "keep":
                return minikv.KEEP
            if form == "delete":
                return minikv.DELETE
            if form == "throw":
                raise self.thrown
            if form == "incr":
                return (0 if value is None else value) + 1
            return value_of(form["return"])

        if form not in ("keep", "delete", "throw", "incr") and set(form) != {"return"}:
            raise Unknown(f"fn {form}")
        return function

    def start_options(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {
            name.removesuffix("_ms"): millis(value)
            if name.endswith("_ms") and type(value) is int
            else value_of(value)
            for name, value in fields.items()
        }

    # Operations.

    def run(self, step: dict[str, Any]) -> Any:
        op = step["op"]
        if op in ("join", "events", "lost") or ("of" in step):
            return self.run_of(op, step)
        if op in ("get", "contains"):
            return getattr(self.kv, op)(value_of(step["key"]))
        if op in ("put", "set"):
            options = self.put_options(step)
            return getattr(self.kv, op)(value_of(step["key"]), value_of(step["value"]), **options)
        if op == "lock":
            options = self.put_options(step)
            if "put" in step:
                options["put"] = value_of(step["put"])
            return self.kv.lock(value_of(step["key"]), **options)
        if op in ("delete", "unlock", "persist"):
            return getattr(self.kv, op)(value_of(step["key"]), **self.conditions(step))
        if op == "touch":
            ttl = millis(step["ttl_ms"])
            return self.kv.touch(value_of(step["key"]), ttl, **self.conditions(step))
        if op == "incr":
            by = {"by": value_of(step["by"])} if "by" in step else {}
            return self.kv.incr(value_of(step["key"]), **by, **self.conditions(step))
        if op == "update":
            fn = self.change(step["fn"])
            return self.kv.update(value_of(step["key"]), fn, **self.conditions(step))
        if op == "get_or_put":
            change = self.change(step["fn"])
            options = self.put_options(step)
            return self.kv.get_or_put(value_of(step["key"]), lambda: change(None), **options)
        if op == "get_many":
            return self.kv.get_many(map(value_of, step["keys"]))
        if op == "put_many":
            items = [(value_of(key), value_of(value)) for key, value in step["items"]]
            return self.kv.put_many(items, **self.put_options(step))
        if op == "delete_many":
            return self.kv.delete_many(map(value_of, step["keys"]), **self.conditions(step))
        if op in ("keys", "entries"):
            return self.listing(op, step)
        if op == "count":
            return self.kv.count(*([value_of(step["prefix"])] if "prefix" in step else []))
        if op == "clear":
            prefix = [value_of(step["prefix"])] if "prefix" in step else []
            return self.kv.clear(*prefix, **self.conditions(step))
        if op == "value":
            default = [value_of(step["default"])] if "default" in step else []
            return self.kv.value(value_of(step["key"]), *default)
        if op == "start":
            minikv.Registry(**self.start_options(step["options"])).stop()
            return None
        if op == "wait_synced":
            return self.kv.wait_synced(millis(step["timeout_ms"]))
        if op in ("digest", "stats", "options", "ready", "members", "endpoints"):
            return getattr(self.kv, op)()
        if op == "watch":
            return self.watch(step)
        if op == "locked":
            return self.locked(step)
        if op == "advance":
            self.kv.advance(millis(step["ms"]))
            self.now += step["ms"] * 1_000_000
            return None
        if op == "stop":
            return self.kv.stop()
        raise Unknown(f"op {op}")

    def run_of(self, op: str, step: dict[str, Any]) -> Any:
        if op == "join":
            thread, outcome = self.jobs.pop(step["of"])
            thread.join(PATIENCE)
            if thread.is_alive():
                raise Wrong("the spawned step did not end")
            failed, result = outcome
            if failed:
                raise result
            return result
        if op == "events":
            watch, events = self.watches[step["of"]], []
            while (event := watch.try_next()) is not None:
                events.append(event)
            return events
        guard = self.guards[step["of"]]
        if op == "lost":
            return guard.lost
        if op in ("get", "delete", "persist", "check", "release"):
            return getattr(guard, op)()
        if op == "put":
            ttl: Any = {"ttl": millis(step["ttl_ms"])} if "ttl_ms" in step else {}
            return guard.put(value_of(step["value"]), **ttl)
        if op == "incr":
            return guard.incr(**({"by": value_of(step["by"])} if "by" in step else {}))
        if op == "update":
            return guard.update(self.change(step["fn"]))
        if op == "touch":
            return guard.touch(millis(step["ttl_ms"]))
        raise Unknown(f"op {op} of a guard")

    def listing(self, op: str, step: dict[str, Any]) -> Any:
        options: dict[str, Any] = {}
        if "prefix" in step:
            options["prefix"] = value_of(step["prefix"])
        if "limit" in step:
            options["limit"] = step["limit"]
        if "cursor_of_step" in step:
            options["cursor"] = self.results[step["cursor_of_step"]].cursor
        if "cursor" in step:
            options["cursor"] = step["cursor"]
        return getattr(self.kv, op)(**options)

    def watch(self, step: dict[str, Any]) -> None:
        options: dict[str, Any] = {}
        for name in ("prefix", "key"):
            if name in step:
                options[name] = value_of(step[name])
        for name in ("initial", "capacity"):
            if name in step:
                options[name] = step[name]
        self.watches[step["as"]] = self.kv.watch(**options)

    def locked(self, step: dict[str, Any]) -> Any:
        options = self.put_options(step)
        if "create" in step:
            options["create"] = step["create"]
        scope = self.kv.locked(value_of(step["key"]), **options)
        guard = scope.__enter__()
        # Kept, or the guard would end with it.
        self.scopes.append(scope)
        self.guards[step["as"]] = guard
        return self.kv.get(guard.key)

    def spawn(self, step: dict[str, Any]) -> None:
        outcome: list[Any] = []

        def work() -> None:
            try:
                outcome.extend((False, self.run(step)))
            except BaseException as error:  # noqa: BLE001 - told at the join
                outcome.extend((True, error))

        waiters = self.kv.stats()["waiters"]
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self.jobs[step["spawn"]] = thread, outcome
        deadline = time.monotonic() + PATIENCE
        while self.kv.stats()["waiters"] <= waiters:
            if not thread.is_alive() or time.monotonic() > deadline:
                raise Wrong(f"the spawned step does not wait: {outcome}")
            time.sleep(0.0005)

    # Comparison.

    def check_entry(self, wanted: Any, entry: Any) -> None:
        if wanted is None:
            if entry is not None:
                raise Wrong(f"expected no entry, got {entry!r}")
            return
        if not isinstance(entry, minikv.Entry):
            raise Wrong(f"expected an entry, got {entry!r}")
        got: Any
        for field, want in wanted.items():
            if field == "exp_in_ms":
                got = None if entry.exp is None else entry.exp - self.now
                good = got == (None if want is None else want * 1_000_000)
            elif field in ("value", "key"):
                got = getattr(entry, field)
                good = equal(got, value_of(want))
            elif field in ("type", "node", "lock"):
                got = getattr(entry, field)
                good = equal(got, want)
            elif field == "holder":
                got = entry.holder and {"node": entry.holder.node, "owner": entry.holder.owner}
                want = want and {"node": want["node"], "owner": value_of(want["owner"])}
                good = got == want
            elif field == "fence" and want is None:
                got = entry.fence
                good = got is None
            else:
                raise Unknown(f"field {field}")
            if not good:
                raise Wrong(f"{field}: expected {want!r}, got {got!r}")

    def check(self, expect: dict[str, Any], result: Any) -> None:
        only(
            expect,
            {"entry", "nil", "bool", "count", "keys", "entries", "cursor", "value", "stats"}
            | {"options", "events", "unordered", "members", "endpoints"},
            "expect",
        )
        for form, want in expect.items():
            if form == "entry":
                self.check_entry(want, result)
            elif form == "nil":
                if want is not True:
                    raise Unknown("nil is always true")
                self.check_entry(None, result)
            elif form == "bool":
                if result is not want:
                    raise Wrong(f"expected {want}, got {result!r}")
            elif form == "count":
                count = result
                if isinstance(result, list):
                    count = sum(item is not None for item in result)
                if type(count) is not int or count != want:
                    raise Wrong(f"count: expected {want}, got {count!r}")
            elif form == "keys":
                self.check_keys(list(map(value_of, want)), result)
            elif form == "entries":
                self.check_entries(want, result)
            elif form == "cursor":
                if (result.cursor is not None) is not want:
                    raise Wrong(f"cursor: expected {want}, got {result.cursor!r}")
            elif form == "value":
                if not equal(result, value_of(want)):
                    raise Wrong(f"expected {value_of(want)!r}, got {result!r}")
            elif form in ("stats", "options"):
                for name, wanted in want.items():
                    if name not in result:
                        raise Unknown(f"{form} {name}")
                    if not equal(result[name], wanted):
                        raise Wrong(f"{name}: expected {wanted!r}, got {result[name]!r}")
            elif form == "members":
                self.check_members(want, result)
            elif form == "endpoints":
                if not equal(result, want):
                    raise Wrong(f"endpoints: expected {want!r}, got {result!r}")
            elif form == "events":
                self.check_events(want, result, expect.get("unordered", False))

    def check_keys(self, want: list[Any], got: Any) -> None:
        tagged = [(type(key).__name__, key) for key in got]
        wanted = [(type(key).__name__, key) for key in want]
        if sorted(map(repr, tagged)) != sorted(map(repr, wanted)):
            raise Wrong(f"keys: expected {want!r}, got {got!r}")

    def check_entries(self, want: list[Any], got: list[Any]) -> None:
        if len(want) != len(got):
            raise Wrong(f"expected {len(want)} entries, got {got!r}")
        if isinstance(got, minikv.Page):
            by_key = {entry.key_bytes: entry for entry in got}
            ordered = []
            for wanted in want:
                key = value_of(wanted["key"])
                ordered.append(by_key.get(key.encode() if isinstance(key, str) else key))
            if None in ordered or len(by_key) != len(got):
                raise Wrong(f"expected {want!r}, got {got!r}")
            got = ordered
        for wanted, entry in zip(want, got, strict=True):
            self.check_entry(wanted, entry)

    def check_members(self, want: list[dict[str, Any]], got: list[minikv.Member]) -> None:
        if len(want) != len(got):
            raise Wrong(f"expected {len(want)} members, got {got!r}")
        for wanted, member in zip(want, got, strict=True):
            only(wanted, set(MEMBER), "member")
            for field, value in wanted.items():
                if not equal(getattr(member, field), value):
                    raise Wrong(f"{field}: expected {value!r}, got {member!r}")

    def check_events(self, want: list[Any], got: list[minikv.Event], unordered: bool) -> None:
        if len(want) != len(got):
            raise Wrong(f"expected {len(want)} events, got {got!r}")
        left = list(got)
        for wanted in want:
            candidates = left if unordered else left[:1]
            problem: Wrong | None = None
            for event in candidates:
                try:
                    self.check_event(wanted, event)
                except Wrong as wrong:
                    problem = wrong
                else:
                    left.remove(event)
                    break
            else:
                raise Wrong(f"event {wanted!r}: {problem}; got {got!r}")

    def check_event(self, want: dict[str, Any], event: minikv.Event) -> None:
        only(want, {"type", "key", "entry", "count"}, "event")
        for field, wanted in want.items():
            if field == "entry":
                self.check_entry(wanted, event.entry)
            elif not equal(getattr(event, field), value_of(wanted)):
                raise Wrong(f"{field}: expected {wanted!r}, got {getattr(event, field)!r}")

    def field(self, name: str, result: Any) -> Any:
        if name == "digest":
            return result
        if name not in ("version", "time", "exp", "fence"):
            raise Unknown(f"field {name}")
        return getattr(result, name)

    def compare(self, step: dict[str, Any], result: Any) -> None:
        for relation in ("same", "differs", "greater"):
            for name, saved in step.get(relation, {}).items():
                got, before = self.field(name, result), self.saved[saved]
                good = {
                    "same": lambda: got == before,
                    "differs": lambda: got != before,
                    "greater": lambda: got > before,
                }[relation]()
                if not good:
                    raise Wrong(f"{name}: {got!r} is not {relation} than {saved} {before!r}")
        for saved, name in step.get("save", {}).items():
            self.saved[saved] = self.field(name, result)

    def kind_of(self, error: BaseException) -> str:
        if error is self.thrown:
            return "throw"
        if isinstance(error, minikv.MinikvError):
            return error.kind
        raise error

    def step(self, step: dict[str, Any]) -> None:
        only(step, KNOWN, f"step {step.get('op')}")
        if "spawn" in step:
            self.spawn(step)
            self.results.append(None)
            return
        wanted = step.get("error")
        try:
            result = self.run(step)
        except (Wrong, Unknown):
            raise
        except Exception as error:
            kind = self.kind_of(error)
            if wanted is None:
                raise Wrong(f"failed with {kind}: {error}") from error
            expected = wanted["kind"] if isinstance(wanted, dict) else wanted
            if kind != expected:
                raise Wrong(f"error: expected {expected}, got {kind}: {error}") from error
            if isinstance(wanted, dict):
                only(wanted, {"kind", "entry"}, "error")
                if not isinstance(error, minikv.Conflict):
                    raise Wrong(f"{error!r} carries no entry") from error
                if "entry" in wanted:
                    self.check_entry(wanted["entry"], error.entry)
            self.results.append(None)
            return
        if wanted is not None:
            raise Wrong(f"expected the error {wanted}, got {result!r}")
        self.check(step.get("expect", {}), result)
        self.compare(step, result)
        self.results.append(result)

    def end(self) -> None:
        self.kv.stop()
        for thread, _ in self.jobs.values():
            thread.join(PATIENCE)


MEMBER = ("node", "state", "lag", "digest", "is_self", "namesake")

KNOWN = {
    "op", "key", "value", "owner", "fence", "fence_of_step", "if_version", "if_version_of_step",
    "ttl_ms", "persist", "keep_ttl", "if_absent", "lock", "lease_ms", "wait_ms", "spawn", "put",
    "by", "fn", "keys", "items", "prefix", "limit", "cursor_of_step", "default", "as", "initial",
    "capacity", "of", "create", "ms", "expect", "error", "save", "same", "differs", "greater",
    "options", "timeout_ms",
}  # fmt: skip


def main() -> int:
    passed = failed = 0
    for file in sorted(FOLDER.glob("*.json")):
        for fields in json.loads(file.read_text(encoding="utf-8")):
            only(fields, {"name", "registry", "steps"}, file.name)
            case = None
            at = -1
            try:
                case = Case(fields.get("registry", {}))
                for at, step in enumerate(fields["steps"]):  # noqa: B007 - told on failure
                    case.step(step)
                if case.jobs:
                    raise Unknown(f"nobody joins {sorted(case.jobs)}")
            except Exception as error:
                failed += 1
                print(f"{file.name}: {fields['name']}: step {at}: {type(error).__name__}: {error}")
                if at >= 0:
                    print(f"    {json.dumps(fields['steps'][at])[:400]}")
            else:
                passed += 1
            finally:
                if case is not None:
                    case.end()
    print(f"Python: {passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
