"""The checks of the exercises: a page of solutions runs the very ones that the chapter offers."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

BOOK = Path(__file__).resolve().parents[1] / "book"
CHAPTERS = sorted(BOOK.glob("[0-9]*.ipynb"))


def checks(path: Path) -> dict[str, str]:
    """The functions of a notebook that check an answer: name to what they do, layout aside."""
    found = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and "def check_" in cell.source:
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.FunctionDef) and node.name.startswith("check_"):
                    if ast.get_docstring(node) is not None:
                        del node.body[0]
                    found[node.name] = ast.unparse(node)
    return found


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_solutions_run_the_checks_of_their_chapter(chapter: Path) -> None:
    offered, run = checks(chapter), checks(BOOK / "solutions" / chapter.name)
    assert run == offered
    # And each is called, not only defined.
    cells = nbformat.read(BOOK / "solutions" / chapter.name, as_version=4).cells
    calls = {
        node.func.id
        for cell in cells
        if cell.cell_type == "code" and "check_" in cell.source
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert set(run) <= calls
