"""What all tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import minikv


@pytest.fixture
def kv() -> Iterator[minikv.Registry]:
    """A registry of its own, on the system clock."""
    with minikv.Registry() as registry:
        yield registry


@pytest.fixture
def manual() -> Iterator[minikv.Registry]:
    """A registry of its own, on the manual clock."""
    with minikv.Registry(clock="manual") as registry:
        yield registry
