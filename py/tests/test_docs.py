"""Everything public has a docstring, and the examples in them run."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import minikv

HERE = Path(__file__).resolve().parent
ALIASES = {"Duration", "Key", "Value", "KEEP", "DELETE", "MAX_DEPTH", "MAX_KEY_BYTES", "MAX_VALUE_BYTES"}


def public() -> Iterator[tuple[str, Any]]:
    yield "minikv", minikv
    for name in minikv.__all__:
        if name in ALIASES:
            continue
        thing = getattr(minikv, name)
        yield name, thing
        if isinstance(thing, type) and not issubclass(thing, (BaseException, dict)):
            for member in dir(thing):
                if not member.startswith("_") and not hasattr(list, member):
                    yield f"{name}.{member}", inspect.getattr_static(thing, member)


def test_everything_public_has_a_docstring() -> None:
    plain = {"Options", "Stats", "Change.KEEP", "Change.DELETE"}
    mapping = {"Data.get", "Data.items", "Data.keys", "Data.popitem", "Data.update", "Data.values"}
    bare = [
        name
        for name, thing in public()
        if not (inspect.getdoc(thing) or "").strip() and name not in plain
    ]
    assert set(bare) - mapping - {"Change.name", "Change.value"} == set()


def test_examples() -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    parser = doctest.DocTestParser()
    seen = 0
    for name, thing in public():
        text = inspect.getdoc(thing) or ""
        case = parser.get_doctest(text, {"minikv": minikv}, name, None, None)
        if case.examples:
            seen += len(case.examples)
            runner.run(case)
    assert seen >= 19 and runner.failures == 0


def test_the_readme() -> None:
    text = (HERE.parent / "README.md").read_text(encoding="utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "90\n"), result.stderr


def test_the_names_are_sorted_and_there() -> None:
    assert all(hasattr(minikv, name) for name in minikv.__all__)
    assert len(set(minikv.__all__)) == len(minikv.__all__)


@pytest.mark.parametrize("example", ["tour.py"])
def test_examples_run(example: str) -> None:
    file = HERE.parent.parent / "examples" / example
    result = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert "locked" in result.stdout


def test_the_demo_says_what_it_wants() -> None:
    """`make demo` runs it, with the other languages."""
    file = HERE.parent.parent / "examples" / "demo" / "demo.py"
    bare = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=60)
    assert bare.returncode == 1 and bare.stderr.startswith("usage: demo"), bare.stderr
