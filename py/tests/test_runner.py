"""The conformance runner fails where it must: a runner that cannot fail proves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
PUT = {"op": "put", "key": "k", "value": 1}
LOCK = {"op": "lock", "key": "k", "owner": "a"}


def run(folder: Path, *steps: Any, registry: Any = None) -> tuple[int, str, str]:
    case = {"name": "a case", "registry": registry or {}, "steps": steps}
    (folder / "x.json").write_text(json.dumps([case]), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, str(HERE / "conformance.py")],
        env={**os.environ, "MINIKV_VECTORS": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stderr == ""
    return result.returncode, result.stdout, result.stdout.splitlines()[-1]


def test_a_good_case_passes(tmp_path: Path) -> None:
    good = {**PUT, "expect": {"entry": {"value": 1, "exp_in_ms": None}}}
    code, _, last = run(tmp_path, good)
    assert (code, last) == (0, "Python: 1 passed, 0 failed")


WRONG: list[list[Any]] = [
    [{**PUT, "expect": {"entry": {"value": 2}}}],
    [{**PUT, "expect": {"entry": {"value": True}}}],
    [{**PUT, "expect": {"entry": {"value": {"$float": "1.0"}}}}],
    [{**PUT, "expect": {"entry": {"type": "float"}}}],
    [{**PUT, "expect": {"entry": {"exp_in_ms": 0}}}],
    [{**PUT, "expect": {"entry": {"holder": {"node": "local", "owner": None}}}}],
    [{**PUT, "expect": {"entry": {"colour": "red"}}}],
    [{**PUT, "expect": {"nil": True}}],
    [{**PUT, "expect": {"taste": 1}}],
    [{**PUT, "error": "locked"}],
    [{**PUT, "key": "", "error": "invalid_value"}],
    [{**PUT, "key": ""}],
    [{**PUT, "colour": "red"}],
    [{"op": "paint", "key": "k"}],
    [{"op": "get", "key": {"$strange": 1}}],
    [PUT, {**PUT, "if_absent": True, "error": {"kind": "conflict", "entry": None}}],
    [PUT, {"op": "update", "key": "k", "fn": "throw", "error": "invalid_value"}],
    [PUT, {"op": "update", "key": "k", "fn": "what"}],
    [PUT, {"op": "keys", "expect": {"keys": []}}],
    [PUT, {"op": "keys", "expect": {"keys": ["k", "k"]}}],
    [PUT, {"op": "entries", "expect": {"entries": [{"key": "z"}]}}],
    [PUT, {"op": "count", "expect": {"count": 2}}],
    [PUT, {"op": "stats", "expect": {"stats": {"entries": 2}}}],
    [PUT, {"op": "stats", "expect": {"stats": {"colour": 2}}}],
    [PUT, {"op": "contains", "key": "k", "expect": {"bool": False}}],
    [PUT, {"op": "value", "key": "k", "expect": {"value": "1"}}],
    [{**PUT, "save": {"v": "version"}}, {**PUT, "same": {"version": "v"}}],
    [{**PUT, "save": {"t": "time"}}, {**PUT, "greater": {"version": "t"}}],
    [{"op": "watch", "as": "w"}, PUT, {"op": "events", "of": "w", "expect": {"events": []}}],
    [
        {"op": "watch", "as": "w"},
        PUT,
        {"op": "events", "of": "w", "expect": {"events": [{"type": "delete"}]}},
    ],
    [PUT, LOCK, {"op": "lock", "key": "k", "wait_ms": 10, "spawn": "j"}],
    [PUT, {"op": "lock", "key": "k", "wait_ms": 10, "spawn": "j"}],
]


@pytest.mark.parametrize("steps", WRONG, ids=lambda steps: json.dumps(steps[-1])[:60])
def test_a_wrong_case_fails(tmp_path: Path, steps: list[Any]) -> None:
    code, out, last = run(tmp_path, *steps)
    assert (code, last) == (1, "Python: 0 passed, 1 failed")
    assert "x.json: a case: step" in out


def test_no_case_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]")
    assert run(tmp_path, registry={"colour": "red"})[0] == 1
    (tmp_path / "x.json").unlink()
    result = subprocess.run(
        [sys.executable, str(HERE / "conformance.py")],
        env={**os.environ, "MINIKV_VECTORS": str(tmp_path)},
        capture_output=True,
        timeout=60,
    )
    assert result.returncode == 1
