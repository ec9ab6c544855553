"""Workers of gunicorn are members of one cluster, started in each worker after the fork."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE = 120.0
WORKERS = 3

# The recipes of CLUSTER.md. Every worker dials one member at a known address.
LAZILY = """
import os, minikv
def registry():
    return minikv.Registry("shop", cluster=os.environ["CLUSTER"], node=f"web-{os.getpid()}",
        peers=[os.environ["PEER"]], failure_timeout=1, exist_ok=True)
"""

OPENED = """
import os, minikv
def registry():
    return minikv.Registry.open("shop")
"""

HOOK = """
import os, minikv
def post_fork(server, worker):
    minikv.Registry("shop", cluster=os.environ["CLUSTER"], node=f"web-{worker.pid}",
        peers=[os.environ["PEER"]], failure_timeout=1)
"""

APPLICATION = """
import json

def application(environ, start_response):
    kv = registry()
    kv.wait_synced(60)
    key, value = environ["PATH_INFO"].strip("/"), environ["QUERY_STRING"]
    if value:
        kv[key] = value
    told = {
        "pid": os.getpid(),
        "value": kv[key] if key in kv else None,
        "members": [m.node for m in kv.members() if m.state == "live"],
    }
    start_response("200 OK", [("Content-Type", "application/json"), ("Connection", "close")])
    return [json.dumps(told).encode()]
"""

SEED = """
import os, sys, minikv
with minikv.Registry(cluster=os.environ["CLUSTER"], node="seed", failure_timeout=1) as kv:
    print(kv.endpoints()[0], flush=True)
    sys.stdin.read()
"""


def until(what: Callable[[], bool], why: Callable[[], str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline, why()
        time.sleep(0.05)


class Server:
    """A gunicorn, and what its workers answer."""

    def __init__(self, folder: Path, *options: str, seed: str, cluster: str) -> None:
        hook = "post_fork" in (folder / "gunicorn.conf.py").read_text()
        (folder / "app.py").write_text((OPENED if hook else LAZILY) + APPLICATION)
        self.path = str(folder / "web.sock")
        self.log = folder / "log"
        arguments = ["--bind", f"unix:{self.path}", "--workers", str(WORKERS), "--graceful-timeout", "10"]
        arguments.append("--no-control-socket")
        environ = {**os.environ, "CLUSTER": cluster, "PEER": seed}
        with self.log.open("w") as log:
            self.master = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", *arguments, *options, "app:application"],
                cwd=folder, env=environ, stdout=log, stderr=log,
            )  # fmt: skip
        self.seen: dict[int, dict[str, Any]] = {}

    def told(self) -> str:
        return f"{self.seen}\n{self.log.read_text()}"

    def ask(self, path: str) -> tuple[int, dict[str, Any]] | None:
        """None: nobody answers just now."""
        connection = http.client.HTTPConnection("gunicorn", timeout=PATIENCE)
        try:
            with socket.socket(socket.AF_UNIX) as connection.sock:
                connection.sock.settimeout(PATIENCE)
                connection.sock.connect(self.path)
                connection.request("GET", path)
                answer = connection.getresponse()
                if answer.status != 200:
                    return None
                told = json.loads(answer.read())
        except (OSError, http.client.HTTPException):
            return None
        return told["pid"], told

    def everyone_says(self, path: str, right: Callable[[dict[str, Any]], bool], besides: int = 0) -> list[int]:
        """Asks until so many workers as there should be have given the right answer; returns who they are."""
        self.seen = {}

        def all_right() -> bool:
            assert self.master.poll() is None, self.told()
            answer = self.ask(path)
            if answer is not None and answer[0] != besides:
                self.seen[answer[0]] = answer[1]
            return sum(right(told) for told in self.seen.values()) == WORKERS == len(self.seen)

        until(all_right, self.told)
        return list(self.seen)


@contextlib.contextmanager
def seed(cluster: str) -> Iterator[str]:
    pipe = subprocess.PIPE
    environ = {**os.environ, "CLUSTER": cluster}
    with subprocess.Popen([sys.executable, "-c", SEED], stdin=pipe, stdout=pipe, text=True, env=environ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("preload", [False, True], ids=["plain", "preload"])
@pytest.mark.parametrize("hook", [False, True], ids=["lazily", "post_fork"])
def test_workers_are_members(tmp_path: Path, hook: bool, preload: bool) -> None:
    cluster = f"gunicorn-{os.getpid()}-{hook}-{preload}"
    (tmp_path / "gunicorn.conf.py").write_text(HOOK if hook else "")
    options = ["--preload"] if preload else []
    with seed(cluster) as endpoint:
        server = Server(tmp_path, *options, seed=endpoint, cluster=cluster)
        workers: set[int] = set()
        try:
            workers |= set(first := server.everyone_says("/nothing", lambda told: True))
            answer = server.ask("/key?one")
            assert answer is not None and answer[1]["value"] == "one", server.told()
            names = {"seed", *(f"web-{pid}" for pid in first)}
            server.everyone_says("/key", lambda told: told["value"] == "one" and set(told["members"]) == names)

            os.kill(first[0], signal.SIGKILL)
            workers |= set(after := server.everyone_says("/key", lambda told: told["value"] == "one", besides=first[0]))
            assert len(set(after) - set(first)) == 1, server.told()
            names = {"seed", *(f"web-{pid}" for pid in after)}
            server.everyone_says("/key", lambda told: set(told["members"]) == names)
            # The new one's word counts too.
            answer = server.ask("/key?two")
            assert answer is not None and answer[1]["value"] == "two", server.told()
            server.everyone_says("/key", lambda told: told["value"] == "two")

            server.master.terminate()
            assert server.master.wait(PATIENCE) == 0, server.told()
            until(lambda: not any(map(is_there, workers)), server.told)
        finally:
            if server.master.poll() is None:
                server.master.kill()
                server.master.wait()
            for pid in filter(is_there, workers):
                os.kill(pid, signal.SIGKILL)
