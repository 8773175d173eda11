"""``python -m tests.mutants [words]``: plant each fault, and demand that its tests fail.

With words, only the faults whose names contain one of them. Ends with status 1 if a fault survives,
if one can no longer be planted, or if the tests fail without any.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
PASSED, FAILED = 0, 1  # of pytest's exit statuses; any other says that it could not test
SECONDS = 1200


def copy(folder: Path) -> None:
    """The library and its tests, without what a run leaves behind."""
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in ("gantut", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=unwanted)
    shutil.copy(ROOT / "pyproject.toml", folder)


def pytest(folder: Path, tests: list[str]) -> subprocess.CompletedProcess:
    """Run tests in a copy, which must then be the library that they import."""
    guard = (
        "import pathlib, sys, gantut, pytest; "
        "assert pathlib.Path(gantut.__file__).is_relative_to(pathlib.Path.cwd()), gantut.__file__; "
        "sys.exit(pytest.main(sys.argv[1:]))"
    )
    quick = ["-x", "-q", "--no-header", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist"]
    variables = {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-c", guard, *quick, *tests],
        cwd=folder,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def plant(fault: Fault, folder: Path) -> str | None:
    """Make the edits; a reason if they cannot be made."""
    path = folder / "gantut" / fault.file
    text = path.read_text(encoding="utf-8")
    for old, new in fault.edits:
        if text.count(old) != 1:
            return f"{old.strip()!r} stands {text.count(old)} times in {fault.file}"
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
    return None


def judge(fault: Fault) -> tuple[str, str]:
    """``caught``, ``SURVIVED`` or ``BROKEN``, and which test said so, or why not."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        folder = Path(name)
        copy(folder)
        reason = plant(fault, folder)
        if reason is not None:
            return "BROKEN", reason
        result = pytest(folder, list(fault.tests))
    lines = result.stdout.strip().splitlines() or result.stderr.strip().splitlines() or [""]
    failed = [
        line.removeprefix("FAILED ").split(" - ")[0] for line in lines if line.startswith("FAILED")
    ]
    if result.returncode == FAILED and failed:
        return "caught", failed[0]
    # A test that could not even start has caught nothing.
    return "SURVIVED" if result.returncode == PASSED else "BROKEN", lines[-1]


def main() -> int:
    words = sys.argv[1:]
    chosen = [f for f in FAULTS if not words or any(word in f.name for word in words)]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sound-") as name:
        copy(Path(name))
        tests = sorted({test for fault in chosen for test in fault.tests})
        sound = pytest(Path(name), tests)
    print(f"without a fault: {(sound.stdout.strip().splitlines() or ['?'])[-1]}", flush=True)
    if sound.returncode != PASSED:
        print(sound.stdout[-3000:], sound.stderr[-3000:], sep="\n")
        return 1
    width = max(len(f.name) for f in chosen)
    verdicts = []
    with ThreadPoolExecutor(int(os.environ.get("WORKERS") or os.cpu_count() or 1)) as pool:
        for fault, (verdict, detail) in zip(chosen, pool.map(judge, chosen), strict=True):
            verdicts.append(verdict)
            print(f"{fault.name:<{width}}  {verdict:<8}  {detail}", flush=True)
    survivors = [f.name for f, v in zip(chosen, verdicts, strict=True) if v != "caught"]
    print(
        f"{len(chosen) - len(survivors)} of {len(chosen)} faults caught in "
        f"{time.monotonic() - started:.0f} s; survivors: {', '.join(survivors) or 'none'}"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
