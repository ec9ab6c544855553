"""Runs pytest, stubtest and mypy; stubtest and mypy count as one test each."""

from __future__ import annotations

import subprocess
import sys

import pytest


class Count:
    """Counts what pytest reports; whatever is neither passed nor failed is a failure here."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.passed += 1
        elif not report.passed:
            self.failed += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.failed += 1


def main() -> int:
    count = Count()
    pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[1:]], plugins=[count])
    if not sys.argv[1:]:
        checks = [
            ["mypy.stubtest", "minikv", "--mypy-config-file", "pyproject.toml"],
            ["mypy", "--no-incremental", "tests", "../examples/tour.py", "../examples/demo/demo.py"],
        ]
        for module, *arguments in checks:
            print(f"{module}:", flush=True)
            good = subprocess.run([sys.executable, "-m", module, *arguments]).returncode == 0
            count.passed += good
            count.failed += not good
    print(f"Python: {count.passed} passed, {count.failed} failed")
    return 1 if count.failed or not count.passed else 0


if __name__ == "__main__":
    sys.exit(main())
