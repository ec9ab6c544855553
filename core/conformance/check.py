#!/usr/bin/env python3
"""Checks that conformance vectors keep to the format of README.md.

    check.py [FOLDER]      FOLDER defaults to the folder of this script

Prints `N cases in M files`, or every problem as file: case: step, and then exits with 1.
"""
import base64
import binascii
import json
import pathlib
import re
import sys

SAFE = 2**53 - 1
KINDS = set("""stopped invalid_key invalid_value invalid_argument stale_fence locked conflict
    lock_lost not_found limit io""".split())
EVENTS = set("put delete expire touch persist lock unlock lagged".split())
TYPES = set("nil bool int float text bytes list map".split())
STATS = {"entries": int, "waiters": int, "watchers": int, "locks": int, "expired": int, "healthy": bool,
         "members": int, "replicated_out": int, "replicated_in": int, "outbox": int, "outbox_overflows": int,
         "repairs": int, "tombstones": int, "parked": int, "refused": int, "sync_entries": int, "sync_total": int,
         "clock_offset_ms": int}
MEMBER = {"node": str, "state": str, "lag": int, "digest": str, "is_self": bool, "namesake": bool}
OPTIONS = {"name": str, "node": str, "clock": str, "default_ttl": "duration", "lock_lease": "duration",
           "max_value_bytes": int, "max_entries": int, "max_bytes": int, "max_watchers": int,
           "cluster": str, "listen": list, "peers": list, "discovery": str, "failure_timeout": "duration", "tls": dict}
REGISTRY = {"node": str, "default_ttl_ms": int, "max_value_bytes": int, "max_entries": int,
            "max_bytes": int, "lock_lease_ms": int, "max_watchers": int}

WRITE = "owner fence fence_of_step if_version if_version_of_step"
PUT = WRITE + " ttl_ms persist keep_ttl if_absent"
# op: (fields it must have, fields it may have, forms of `expect`)
OPS = {op: tuple(set(part.split()) for part in row) for op, row in {
    "get": ("key", "", "entry nil"),
    "put": ("key value", PUT + " lock lease_ms", "entry"),
    "set": ("key value", PUT + " lock lease_ms", "entry"),
    "delete": ("key", WRITE, "entry nil"),
    "lock": ("key", "owner lease_ms wait_ms put spawn", "entry nil"),
    "unlock": ("key", "owner", "entry nil"),
    "persist": ("key", WRITE, "entry nil"),
    "touch": ("key ttl_ms", WRITE, "entry nil"),
    "incr": ("key", WRITE + " by", "entry"),
    "update": ("key fn", WRITE, "entry nil"),
    "get_or_put": ("key fn", PUT, "entry"),
    "get_many": ("keys", "", "entries count"),
    "put_many": ("items", PUT, "entries count"),
    "delete_many": ("keys", "owner", "entries count"),
    "keys": ("", "prefix limit cursor_of_step", "keys count cursor"),
    "entries": ("", "prefix limit cursor_of_step", "entries count cursor"),
    "count": ("", "prefix", "count"),
    "clear": ("", "prefix owner", "count"),
    "contains": ("key", "", "bool"),
    "value": ("key", "default", "value"),
    "digest": ("", "", ""),
    "stats": ("", "", "stats"),
    "options": ("", "", "options"),
    "start": ("options", "", ""),
    "ready": ("", "", "bool"),
    "wait_synced": ("timeout_ms", "", ""),
    "members": ("", "", "members"),
    "endpoints": ("", "", "endpoints"),
    "watch": ("as", "prefix key initial capacity", ""),
    "events": ("of", "", "events unordered"),
    "advance": ("ms", "", ""),
    "stop": ("", "", ""),
    "join": ("of", "", "entry nil"),
    "locked": ("key as", "owner wait_ms lease_ms create spawn", "entry"),
    "lost": ("of", "", "bool"),
}.items()}
# the same for an op with `of` in place of `key`: it acts through that guard
GUARD = {op: tuple(set(part.split()) for part in row) for op, row in {
    "get": ("", "", "entry"),
    "put": ("value", "", "entry"),
    "delete": ("", "", "entry"),
    "incr": ("", "by", "entry"),
    "update": ("fn", "", "entry nil"),
    "touch": ("ttl_ms", "", "entry"),
    "persist": ("", "", "entry"),
    "check": ("", "", ""),
    "release": ("", "", ""),
}.items()}
COMMON = set("op expect error save same differs greater".split())
SAVED = {"version", "time", "fence", "exp"}


class Bad(Exception):
    """A vector that does not keep to the format."""


def need(condition, message, *args):
    if not condition:
        raise Bad(message % args if args else message)


def one_of(name, names, what):
    need(isinstance(name, str) and name in names, "unknown %s %r", what, name)


def pairs(items):
    found = {}
    for key, value in items:
        need(key not in found, "the field %r stands twice in one object", key)
        found[key] = value
    return found


def bare_int(text):
    need(text != "-0", "a bare -0: write $float")
    return int(text)


def bare_float(text):
    raise Bad("a bare float %s: write $float" % text)


def is_int(value, low=-SAFE):
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= SAFE


def marker(value):
    """The name and content of `{"$name": content}`, else None."""
    if isinstance(value, dict) and len(value) == 1:
        (name, content), = value.items()
        if name.startswith("$"):
            return name, content
    return None


def value_form(value):
    found = marker(value)
    if found:
        name, content = found
        if name == "$map":
            need(isinstance(content, list), "$map is a list of pairs")
            for pair in content:
                need(isinstance(pair, list) and len(pair) == 2, "$map is a list of pairs")
                need(isinstance(pair[0], str) or (marker(pair[0]) or " ")[0] in ("$repeat", "$utf16"), "a map's key is text")
                value_form(pair[0])
                value_form(pair[1])
            return
        text = isinstance(content, str)
        if name == "$int":
            need(text and re.fullmatch(r"-?[1-9][0-9]*", content) and abs(int(content)) > SAFE, "$int %r: only ints beyond 2^53 - 1, as text", content)
        elif name == "$float":
            need(text and (content in ("nan", "inf", "-inf") or re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e-?[0-9]+)?", content)), "$float %r", content)
        elif name == "$bytes":
            try:
                need(text, "$bytes is base64 text")
                base64.b64decode(content, validate=True)
            except binascii.Error:
                raise Bad("$bytes %r is not base64" % content) from None
        elif name == "$repeat":
            need(isinstance(content, list) and len(content) == 2 and isinstance(content[0], str) and is_int(content[1], 0), "$repeat is [text, number]")
        elif name == "$utf16":
            need(isinstance(content, list) and all(is_int(unit, 0) and unit < 65536 for unit in content), "$utf16 is a list of units")
        elif name == "$nest":
            need(is_int(content, 1), "$nest is a number of lists")
        else:
            raise Bad("unknown value form %s" % name)
    elif isinstance(value, dict):
        for key, inner in value.items():
            need(len(value) > 1 or not key.startswith("$"), "write such a map as $map")
            value_form(inner)
    elif isinstance(value, list):
        for inner in value:
            value_form(inner)
    elif isinstance(value, int) and not isinstance(value, bool):
        need(is_int(value), "a bare int beyond 2^53 - 1: write $int")


def text_form(value, names=("$repeat", "$utf16")):
    found = marker(value)
    need(isinstance(value, str) or (found and found[0] in names), "%r is not text or one of %s", value, names)
    value_form(value)


def key_form(value):
    if value is not None:
        text_form(value, ("$bytes", "$repeat", "$utf16"))


def fn_form(value):
    if isinstance(value, dict):
        need(set(value) == {"return"}, "fn %r", value)
        value_form(value["return"])
    else:
        one_of(value, ("keep", "delete", "throw", "incr"), "fn")


def items_form(value):
    need(isinstance(value, list), "items is a list of pairs")
    for item in value:
        need(isinstance(item, list) and len(item) == 2, "items is a list of pairs")
        key_form(item[0])
        value_form(item[1])


def number_form(value):
    need(is_int(value), "%r is not a whole number", value)


def options_form(value):
    need(isinstance(value, dict), "options is an object")
    for inner in value.values():
        value_form(inner)


def size_form(value):
    need(is_int(value, 1), "%r is not a number above 0", value)


def flag_form(value):
    need(isinstance(value, bool), "%r is neither true nor false", value)


def name_form(value):
    need(isinstance(value, str) and value, "%r is not a name", value)


def list_of_keys(value):
    need(isinstance(value, list), "keys is a list")
    for key in value:
        key_form(key)


def int_form(value):
    need(is_int(value) or (marker(value) or " ")[0] == "$int", "%r is not an int", value)
    value_form(value)


FIELDS = {"key": key_form, "keys": list_of_keys, "value": value_form, "put": value_form, "default": value_form,
          "items": items_form, "fn": fn_form, "owner": text_form, "by": int_form, "fence": number_form,
          "if_version": name_form, "options": options_form, "timeout_ms": number_form, "ttl_ms": number_form, "lease_ms": number_form, "wait_ms": number_form, "ms": number_form,
          "persist": flag_form, "keep_ttl": flag_form, "if_absent": flag_form, "lock": flag_form, "create": flag_form,
          "initial": flag_form, "limit": size_form, "capacity": size_form, "as": name_form, "of": name_form, "spawn": name_form,
          "prefix": lambda value: text_form(value, ("$bytes", "$repeat"))}


def entry_form(entry, error=False):
    need(isinstance(entry, dict) and (entry or error), "an expected entry names at least one field")
    for field, value in entry.items():
        if field == "key":
            key_form(value)
        elif field == "value":
            value_form(value)
        elif field == "type":
            one_of(value, TYPES, "type")
        elif field == "node":
            name_form(value)
        elif field == "exp_in_ms":
            need(value is None or is_int(value), "exp_in_ms is a number or null")
        elif field == "lock":
            flag_form(value)
        elif field == "holder":
            need(value is None or (isinstance(value, dict) and set(value) == {"node", "owner"}), "holder is null or names node and owner")
            if value and value["owner"] is not None:
                text_form(value["owner"])
        elif field == "fence":
            need(value is None, "a fence can be foretold only when it is null: use save and same")
        else:
            raise Bad("unknown entry field %r" % field)


def expect_form(op, expect, forms):
    need(isinstance(expect, dict) and expect, "expect is an object")
    for form, value in expect.items():
        need(form in forms, "%s does not give %r", op, form)
        if form == "entry":
            entry_form(value)
        elif form == "nil":
            need(value is True, "nil is true")
        elif form in ("bool", "cursor", "unordered"):
            flag_form(value)
        elif form == "count":
            need(is_int(value, 0), "count is a number")
        elif form == "keys":
            list_of_keys(value)
        elif form == "entries":
            need(isinstance(value, list), "entries is a list")
            for entry in value:
                if op == "entries":
                    need(isinstance(entry, dict) and "key" in entry, "a listed entry names its key")
                if entry is not None:
                    entry_form(entry)
        elif form == "value":
            value_form(value)
        elif form == "members":
            need(isinstance(value, list), "members is a list")
            for member in value:
                named_form(member, MEMBER, nullable=True)
        elif form == "endpoints":
            need(isinstance(value, list) and all(isinstance(text, str) for text in value), "endpoints is a list of texts")
        elif form == "events":
            need(isinstance(value, list), "events is a list")
            for event in value:
                event_form(event)
        else:
            named_form(value, STATS if form == "stats" else OPTIONS, nullable=form == "options")
    need(len(expect) == 1 or set(expect) & {"cursor", "unordered"}, "forms that do not go together: %s", sorted(expect))
    need("unordered" not in expect or "events" in expect, "unordered stands beside events")


def event_form(event):
    need(isinstance(event, dict), "an event is an object")
    one_of(event.get("type"), EVENTS, "event")
    for field, value in event.items():
        if field == "key":
            key_form(value)
        elif field == "entry":
            entry_form(value)
        elif field == "count":
            need(is_int(value, 1), "count is a number above 0")
        else:
            need(field == "type", "unknown event field %r", field)


def named_form(value, table, nullable=False):
    need(isinstance(value, dict) and value, "fields and what they are")
    for field, inner in value.items():
        one_of(field, table, "field")
        kind = table[field]
        if inner is None:
            need(nullable, "%s is not null", field)
        elif kind == "duration":
            need(isinstance(inner, str) and re.fullmatch(r"[0-9]+(s|ms|ns)", inner), "%s %r is not a duration", field, inner)
        elif kind is int:
            need(is_int(inner, 0), "%s is a number", field)
        else:
            need(isinstance(inner, kind), "%s is %r", field, inner)


class Case:
    """What the steps so far have brought into being."""

    def __init__(self):
        self.results = []     # per step: the kind of its result, None if it has none
        self.watches, self.guards, self.jobs, self.saved = set(), set(), {}, {}

    def step(self, step):
        need(isinstance(step, dict) and isinstance(step.get("op"), str), "a step is an object with an op")
        op = step["op"]
        through = "of" in step and op in GUARD
        need(through or op in OPS, "unknown op %r", op)
        must, may, forms = GUARD[op] if through else OPS[op]
        if through:
            must = must | {"of"}
        if op == "lock" and "put" in step:
            may = may | set(PUT.split())
        given = set(step) - COMMON
        need(must <= given, "%s lacks %s", op, sorted(must - given))
        need(given <= must | may, "%s does not take %s", op, sorted(given - must - may))
        for field in given:
            if field.endswith("_of_step"):
                self.reference(field, step[field])
            else:
                FIELDS[field](step[field])
        need(not {"key", "prefix"} <= given, "key and prefix exclude each other")
        if op == "events" or through or op in ("lost", "join"):
            known = self.watches if op == "events" else self.jobs if op == "join" else self.guards
            need(step["of"] in known, "%s of %r, which is not there", op, step["of"])
        need(op != "get_or_put" or step["fn"] == "throw" or isinstance(step["fn"], dict), "fn of get_or_put is return or throw")

        error = step.get("error")
        need(error is None or "expect" not in step, "expect and error exclude each other")
        if "error" in step:
            self.error(op, error)
        elif "expect" in step:
            expect_form(op, step["expect"], forms)
        relations = {"save", "same", "differs", "greater"} & set(step)
        self.relate(op, step, "error" in step or "nil" in step.get("expect", {}))
        if "spawn" in step:
            need(step.get("wait_ms", 0) > 0, "only a step that waits is spawned")
            need(not relations and not {"expect", "error"} & set(step), "what a spawned step gives stands at its join")
            need(step["spawn"] not in self.jobs, "the job %r is already running", step["spawn"])
            self.jobs[step["spawn"]] = step.get("as")
            self.results.append(None)
            return
        done = "error" not in step
        if op == "join":
            guard = self.jobs.pop(step["of"])
            if guard and done:
                self.guards.add(guard)
        elif done and op == "watch":
            self.watches.add(step["as"])
        elif done and op == "locked":
            self.guards.add(step["as"])
        kind = "cursor" if step.get("expect", {}).get("cursor") else "entry" if "entry" in forms and "nil" not in step.get("expect", {}) else None
        self.results.append(kind if done else None)

    def reference(self, field, number):
        need(is_int(number, 0) and number < len(self.results), "%s %r is no earlier step", field, number)
        want = "cursor" if field == "cursor_of_step" else "entry"
        need(self.results[number] == want, "%s %d: that step gives no %s", field, number, want)

    def error(self, op, error):
        kind = error
        if isinstance(error, dict):
            need(set(error) == {"kind", "entry"} and error["kind"] == "conflict", "only conflict carries an entry")
            kind = error["kind"]
            if error["entry"] is not None:
                entry_form(error["entry"])
        if kind == "throw":
            need(op in ("update", "get_or_put"), "%s calls no function", op)
        else:
            one_of(kind, KINDS, "error kind")

    def relate(self, op, step, nothing):
        for relation in ("same", "differs", "greater", "save"):
            if relation not in step:
                continue
            need(not nothing, "%s: the step gives no entry", relation)
            need(isinstance(step[relation], dict) and step[relation], "%s is an object", relation)
            for left, right in step[relation].items():
                field, name = (right, left) if relation == "save" else (left, right)
                if op == "digest":
                    need(field == "digest" and relation != "greater", "a digest is saved, same or differs")
                else:
                    need("entry" in (GUARD if "of" in step and op in GUARD else OPS)[op][2], "%s gives no entry", op)
                    one_of(field, SAVED, "field")
                name_form(name)
                if relation == "save":
                    self.saved[name] = field
                else:
                    need(self.saved.get(name) == field, "%s: no %s was saved as %r", relation, field, name)


def check_file(path, names, problems):
    try:
        cases = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=pairs, parse_int=bare_int, parse_float=bare_float, parse_constant=bare_float)
        need(isinstance(cases, list), "a file is a list of cases")
    except (ValueError, Bad) as problem:
        problems.append("%s: %s" % (path.name, problem))
        return 0
    for number, case in enumerate(cases):
        where = "%s: case %d" % (path.name, number)
        try:
            need(isinstance(case, dict) and set(case) == {"name", "registry", "steps"}, "a case has name, registry and steps")
            name_form(case["name"])
            where = "%s: %s" % (path.name, case["name"])
            need(case["name"] not in names, "this name is also in %s", names.get(case["name"]))
            names[case["name"]] = path.name
            if case["registry"] != {}:
                named_form(case["registry"], REGISTRY, nullable=True)
            need(isinstance(case["steps"], list) and case["steps"], "a case has steps")
            state = Case()
            for index, step in enumerate(case["steps"]):
                try:
                    state.step(step)
                except Bad as problem:
                    problems.append("%s: step %d: %s" % (where, index, problem))
                    break
            else:
                need(not state.jobs, "never joined: %s", sorted(state.jobs))
        except Bad as problem:
            problems.append("%s: %s" % (where, problem))
    return len(cases)


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent
    files = sorted(folder.glob("*.json"))
    names, problems = {}, []
    total = sum(check_file(path, names, problems) for path in files)
    if not files:
        problems.append("%s holds no *.json" % folder)
    for problem in problems:
        print(problem)
    if problems:
        return 1
    print("%d cases in %d files" % (total, len(files)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
