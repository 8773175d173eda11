"""Execute notebooks in place, as they are committed.

    python tests/tools/execute.py book/01_images.ipynb [more.ipynb ...]
    python tests/tools/execute.py draft.py --into book/01_images.ipynb
    python tests/tools/execute.py --first-cell-only book/*.ipynb

Each notebook gets the common first cell (see `first_cell`), runs from top to
bottom in a fresh kernel on one thread, and is written back with its outputs,
execution counts and cell tags, without anything that changes from run to run:
timestamps, widget models, tool metadata. An error stops the notebook, shows the
cell, and leaves the file as it was. The time of every notebook is printed.

A draft (`.py` in percent format, or `.md` in MyST) is read with jupytext. It is
a way of typing, not a source that is kept: the notebook is what is committed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
import time
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

ROOT = Path(__file__).resolve().parents[2]

FIRST_CELL = """\
# In Colab, this installs the library that belongs to this course. Elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet "git+{url}"
"""

# What stays of a cell's metadata: tags (nbval, Jupyter Book) and MyST-NB's own
# options, among them a figure's alternative text.
KEPT_CELL_METADATA = ("tags", "mystnb")
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def repository_url(root: Path = ROOT) -> str:
    """The address in `_config.yml`: the one line that a fork changes."""
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return config["repository"]["url"].rstrip("/")


def first_cell(url: str | None = None) -> nbformat.NotebookNode:
    """The first cell of every notebook. The pages hide it (`remove-cell`)."""
    source = FIRST_CELL.format(url=url or repository_url()).rstrip("\n")
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["remove-cell"]})
    cell["id"] = "install"
    return cell


def with_first_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Put the first cell in front, in place of an older one where there is one."""
    fresh = first_cell()
    old = notebook.cells[0] if notebook.cells else None
    if old is not None and old.cell_type == "code" and "google.colab" in old.source:
        fresh["execution_count"] = old.get("execution_count")
        notebook.cells[0] = fresh
    else:
        notebook.cells.insert(0, fresh)
    return notebook


def cleaned(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop what changes from run to run or from editor to editor."""
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {
                "display_name": "Python 3 (ipykernel)",
                "language": "python",
                "name": "python3",
            },
            "language_info": {"name": "python", "pygments_lexer": "ipython3"},
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: cell.metadata[key] for key in KEPT_CELL_METADATA if key in cell.metadata}
        )
        # An id made from the source stays the same when the notebook is run
        # again, so a diff shows only what changed.
        if cell.get("id") != "install":
            digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:12]
            count = seen[digest] = seen.get(digest, 0) + 1
            cell["id"] = digest if count == 1 else f"{digest}-{count}"
        for output in cell.get("outputs", []):
            output.pop("transient", None)
            # A widget's model lives and dies with its kernel, under a random name.
            # A constant one keeps the file the same; a page shows nothing for it.
            widget = output.get("data", {}).get(WIDGET_VIEW)
            if widget is not None:
                widget["model_id"] = "needs-a-kernel"
            if "metadata" in output:
                output.metadata = nbformat.from_dict(
                    {k: v for k, v in output.metadata.items() if k.startswith("image/")}
                )
    return notebook


def merge_streams(notebook: nbformat.NotebookNode) -> None:
    """Join consecutive pieces of stdout or stderr, which a kernel cuts by time."""
    for cell in notebook.cells:
        merged: list[nbformat.NotebookNode] = []
        for output in cell.get("outputs", []):
            if (
                output.output_type == "stream"
                and merged
                and merged[-1].output_type == "stream"
                and merged[-1].name == output.name
            ):
                merged[-1].text += output.text
            else:
                merged.append(output)
        for output in merged:
            if output.output_type == "stream":
                output.text = after_carriage_returns(output.text)
        if "outputs" in cell:
            cell.outputs = merged


def after_carriage_returns(text: str) -> str:
    """What a terminal shows: a progress bar's last state, not its history."""
    return re.sub(r"^[^\n]*\r(?!\n)", "", text, flags=re.MULTILINE)


def read(path: Path) -> nbformat.NotebookNode:
    if path.suffix == ".ipynb":
        return nbformat.read(path, as_version=4)
    import jupytext

    return jupytext.read(path)


def execute(source: Path, target: Path, timeout: int) -> float:
    """Run `source`, write it to `target`; return the seconds that it took."""
    notebook = with_first_cell(read(source))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.metadata.pop("execution", None)
    client = NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        resources={"metadata": {"path": str(target.parent)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
        # Saved widget models make a page load scripts from other servers, and
        # do nothing there without a kernel.
        store_widget_state=False,
    )
    start = time.perf_counter()
    client.execute()
    seconds = time.perf_counter() - start
    merge_streams(notebook)
    nbformat.write(cleaned(notebook), target)
    return seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--into", type=Path, help="write the one given draft to this notebook")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for one cell")
    parser.add_argument(
        "--first-cell-only",
        action="store_true",
        help="bring the first cell in line with _config.yml; run nothing",
    )
    options = parser.parse_args(arguments)
    if options.into and len(options.notebooks) != 1:
        parser.error("--into takes exactly one draft")
    drafts = [path for path in options.notebooks if path.suffix != ".ipynb"]
    if drafts and not options.into:
        parser.error(f"{drafts[0]} is a draft: say where it goes with --into NOTEBOOK.ipynb")

    # The kernel inherits these. One thread, as in the tests: a convolution's
    # sums depend on how many threads share them.
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
    os.environ["PYTHONHASHSEED"] = "0"
    # Run with the interpreter at hand, whatever kernels are installed beside it.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    failed = 0
    for source in options.notebooks:
        target = options.into or source
        if options.first_cell_only:
            notebook = with_first_cell(read(source))
            nbformat.write(notebook, target)
            continue
        try:
            seconds = execute(source, target, options.timeout)
        except CellExecutionError as error:
            failed += 1
            print(f"{source}: failed\n{error}", file=sys.stderr)
        else:
            size = target.stat().st_size / 1000
            print(f"{target}: {seconds:.1f} s, {size:.0f} kB", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
