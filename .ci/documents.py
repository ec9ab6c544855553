"""Runs every example of the README and the tour in every language: documents are tested too."""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def output(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def main() -> int:
    passed = failed = 0

    def run(name: str, *command: str) -> None:
        nonlocal passed, failed
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
        if done.returncode == 0 and done.stdout.strip():
            passed += 1
            return
        failed += 1
        print(f"FAILED {name}: exit {done.returncode}\n{done.stdout}{done.stderr}")

    python = output("sh", "py/tests/python.sh")
    output("node", "node/scripts/build.js")
    examples = ROOT / "target" / "documents"
    examples.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=examples) as folder:
        place = pathlib.Path(folder)
        # As an installed package is found.
        (place / "node_modules").mkdir()
        (place / "node_modules" / "minikv").symlink_to(ROOT / "node")
        for number, text in enumerate(blocks("python")):
            file = place / f"readme{number}.py"
            file.write_text(text)
            run(f"README Python {number}", python, str(file))
        for number, text in enumerate(blocks("js")):
            file = place / f"readme{number}.js"
            file.write_text(text)
            run(f"README Node {number}", "node", str(file))
        for number, text in enumerate(blocks("c")):
            file = place / f"readme{number}.c"
            file.write_text(text)
            program = str(place / f"readme{number}")
            subprocess.run(["sh", "ffi-c/tests/build-example.sh", str(file), program], cwd=ROOT, check=True)
            run(f"README C {number}", program)
        program = str(place / "tour")
        subprocess.run(["sh", "ffi-c/tests/build-example.sh", "examples/tour.c", program], cwd=ROOT, check=True)
        run("tour in C", program)
    cargo = ("cargo", "run", "-q", "--release", "-p", "minikv-registry", "--example", "tour")
    run("tour in Rust", *cargo)
    run("tour in Python", python, "examples/tour.py")
    run("tour in Node", "node", "examples/tour.mjs")
    run("demo", "sh", "examples/demo/run.sh", "--items", "400", "--seconds", "3")
    print(f"Documents: {passed} passed, {failed} failed")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
