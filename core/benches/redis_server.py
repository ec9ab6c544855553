"""A Redis of its own, on a socket in a folder of its own, ended with the block."""

import contextlib
import pathlib
import shutil
import subprocess
import tempfile
import time


def hindrance() -> str | None:
    if shutil.which("redis-server"):
        return None
    return "redis-server is not installed (Debian: redis-server)"


@contextlib.contextmanager
def run(folder: str):
    import redis

    socket = str(pathlib.Path(folder) / "redis.sock")
    options = ("--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", folder)
    server = subprocess.Popen(("redis-server", *options), stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(unix_socket_path=socket)
        for _ in range(200):
            with contextlib.suppress(redis.ConnectionError):
                client.ping()
                break
            time.sleep(0.05)
        client.socket_path = socket
        yield client
    finally:
        server.terminate()
        server.wait()


def fill(client, entries: int, key, due=lambda number: None) -> None:
    """A thousand at a time. `due`: when an entry expires, in ms since the epoch."""
    pipe = client.pipeline(transaction=False)
    for number in range(entries):
        pipe.set(key(number), f"{number:040}", pxat=due(number))
        if number % 1000 == 999:
            pipe.execute()
    pipe.execute()


def bytes_an_entry(entries: int) -> float:
    """What the process grows by, for each entry of the standard workload."""
    with tempfile.TemporaryDirectory() as folder, run(folder) as client:
        pid = client.info("server")["process_id"]
        before = resident(pid)
        fill(client, entries, lambda number: f"session:{number:012}")
        return (resident(pid) - before) / entries


def resident(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
