"""Properties of the checkout as a whole: sizes, pins, notebooks as they are committed."""

from __future__ import annotations

import configparser
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import gantut
from gantut import plots, recipes, zoo
from tests.tools.execute import first_cell

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"

CHAPTERS = sorted(BOOK.glob("[0-9]*.ipynb"))
SOLUTIONS = sorted((BOOK / "solutions").glob("*.ipynb"))
NOTEBOOKS = sorted(BOOK.glob("*.ipynb")) + SOLUTIONS

each_notebook = pytest.mark.parametrize(
    "path", NOTEBOOKS, ids=lambda path: path.relative_to(BOOK).as_posix()
)
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def committed_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    paths = (ROOT / name for name in listed.split("\0") if name)
    return [path for path in paths if path.is_file()]


def megabytes(paths: list[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / 1e6


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    notebook = nbformat.read(path, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


# --- sizes -------------------------------------------------------------------


def test_checkout_clones_fast() -> None:
    assert megabytes(committed_files()) < 40


def test_finished_runs_stay_small() -> None:
    zoo = [path for path in committed_files() if "zoo" in path.relative_to(ROOT).parts[:2]]
    assert megabytes(zoo) < 25


@each_notebook
def test_notebook_opens_quickly(path: Path) -> None:
    assert path.stat().st_size < 700_000


# --- the table of contents -----------------------------------------------------


def pages_in_the_table_of_contents() -> set[str]:
    found: set[str] = set()

    def walk(node) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("root", "file"):
                    found.add(value)
                else:
                    walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8")))
    return found


def test_every_page_is_in_the_table_of_contents() -> None:
    written = {
        path.relative_to(ROOT).with_suffix("").as_posix()
        for path in committed_files()
        if path.suffix in (".md", ".ipynb") and path.is_relative_to(BOOK)
    }
    assert written == pages_in_the_table_of_contents()


@each_chapter
def test_chapter_has_a_page_of_solutions(path: Path) -> None:
    assert (BOOK / "solutions" / path.name).is_file()


def test_links_of_the_documents_beside_the_book_resolve() -> None:
    broken = []
    for document in ROOT.glob("*.md"):
        text = document.read_text(encoding="utf-8")
        links = re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'(?:src|href)="([^"#]+)"', text)
        for link in links:
            if not re.match(r"[a-z]+:", link) and not (document.parent / link).exists():
                broken.append((document.name, link))
    assert broken == []


# --- the library, as its pages have it -----------------------------------------------------

API = sorted((BOOK / "api").glob("*.md"))
MODULES = [m.name for m in pkgutil.walk_packages(gantut.__path__, "gantut.")]
# Public modules without a section of their own, and where a reader finds them instead.
ELSEWHERE = {
    "gantut.__main__": "`python -m gantut`",
    "gantut.cli": "`gantut --help`",
    "gantut.models": "its modules",
    "gantut.sources.fetching": "gantut.sources",
    "gantut.sources.published": "gantut.sources",
    "gantut.sources.usage": "gantut.sources",
    "gantut.metrics.tables": "the metrics, which check their arguments with it",
}


def documented(page: Path) -> list[str]:
    return re.findall(r"automodule:: (\S+)", page.read_text(encoding="utf-8"))


def test_every_module_has_its_place_on_the_api_pages() -> None:
    found = [name for page in API for name in documented(page)]
    assert len(found) == len(set(found))
    assert set(found) | set(ELSEWHERE) == set(MODULES)
    assert not set(found) & set(ELSEWHERE)


def test_everything_of_the_plots_is_on_their_page() -> None:
    page = (BOOK / "api" / "plots.md").read_text(encoding="utf-8")
    assert [name for name in plots.__all__ if not re.search(rf"\b{name}\b", page)] == []


def test_the_table_of_the_api_names_what_its_pages_hold() -> None:
    table = (BOOK / "api.md").read_text(encoding="utf-8")
    rows = re.findall(r"\]\(api/(\w+)\.md\) \|.*\| (.+?) \|\n", table)
    listed = {name: re.findall(r"`([\w.]+)`", modules) for name, modules in rows}
    held = {page.stem: documented(page) for page in API}
    # The pictures are imported from one place.
    held["plots"] = ["gantut.plots"]
    assert listed == held


def test_import_gantut_offers_every_module() -> None:
    top = {name.split(".")[1] for name in MODULES} - {"__main__"}
    assert set(dir(gantut)) == top | {"__version__"}
    assert all(getattr(gantut, name).__name__ == f"gantut.{name}" for name in top)


@pytest.fixture
def recipe_keys(monkeypatch):
    """The extension of the book that makes the tables of keys."""
    monkeypatch.syspath_prepend(str(BOOK / "_ext"))
    return importlib.import_module("recipe_keys")


def test_tables_of_keys_hold_every_key_once(recipe_keys) -> None:
    sections = [s for s in vars(recipes.schema).values() if recipe_keys.is_section(s)]
    for section in sections:
        keys = recipe_keys.own_keys(section)
        if keys:
            lines = recipe_keys.table(section)
            assert [line[9:-2] for line in lines if line.startswith("   * - ``")] == list(keys)
    inherited = recipe_keys.table(recipes.GANRecipe)[1]
    assert inherited == "The keys of :class:`.BaseRecipe`, and:"


@pytest.mark.parametrize(
    ("section", "key", "kind", "default"),
    [
        ("Train", "epochs", "whole number (≥ 1)", "``1``"),
        ("Train", "ema_half_life", "``null`` or number (> 0)", "``null``"),
        ("Data", "shuffle", "true or false", "``true``"),
        ("Data", "channels", "``null`` or ``1`` or ``3``", "``null``"),
        ("Loss", "smoothing", "number (≥ 0, < 0.5)", "``0``"),
        ("Adam", "lr", "number (> 0)", "``0.0002``"),
        ("Adam", "schedule", "``null`` or :class:`.Schedule`", "``null``"),
        (
            "DCGANGenerator",
            "widths",
            "list of whole numbers (≥ 1), at least 1 of them",
            "``[128, 64]``",
        ),
        ("CGANGenerator", "label_slope", "``null`` or number (≥ 0, < 1)", "``null``"),
        ("CGANGenerator", "paddings", "``null`` or list of ``same`` or ``valid``", "``null``"),
        (
            "InceptionPlan",
            "fewer",
            "list of whole numbers (≥ 3,000, multiple of 1,000)",
            "``[]``",
        ),
        ("BaseRecipe", "name", "text (letters, digits, ``.``, ``_`` and ``-``)", "must be given"),
        ("BaseRecipe", "train", ":class:`.Train`", "its defaults"),
    ],
)
def test_tables_of_keys_say_what_is_allowed(recipe_keys, section, key, kind, default) -> None:
    field = getattr(recipes.schema, section).model_fields[key]
    found = recipe_keys.kind(field.annotation, field.metadata).replace("\xa0", " ")
    assert (found, recipe_keys.default(field)) == (kind, default)


def snippet(module: str) -> str:
    """The indented paragraphs in what a module says about itself: its code, if there is any."""
    text = importlib.import_module(module).__doc__ or ""
    return textwrap.dedent("".join(re.findall(r"\n\n((?:    .*\n)+)", text)))


def with_a_snippet() -> list[str]:
    # The launcher is no module to import.
    return [name for name in ["gantut", *MODULES] if not name.endswith("__") and snippet(name)]


def test_some_modules_begin_with_an_example() -> None:
    assert {"gantut", "gantut.data", "gantut.recipes", "gantut.zoo"} <= set(with_a_snippet())


@pytest.mark.parametrize("module", with_a_snippet())
def test_the_example_at_the_head_of_a_module_runs(module: str) -> None:
    exec(snippet(module), dict(vars(importlib.import_module(module))))


# --- commands and recipes in the documents ---------------------------------------------------


def text_of_setup() -> str:
    cells = nbformat.read(BOOK / "setup.ipynb", as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def commands(text: str) -> list[list[str]]:
    """Lines of gantut in a document, in their order, where they are whole lines or head a row."""
    lines = re.findall(r"^(?:\| `)?(gantut (?:[a-z]+ )?[^`\n]*)", text, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.mark.parametrize("document", ["README.md", "setup.ipynb"])
def test_commands_of_the_documents_work_in_their_order(
    document: str, tmp_path, monkeypatch
) -> None:
    """As far as names go: of recipes and keys, of finished runs, of one's own runs and files."""
    text = (ROOT / document).read_text("utf-8") if document == "README.md" else text_of_setup()
    monkeypatch.chdir(tmp_path)
    for name, source in re.findall(r"`([\w-]+\.yaml)`:\n\n```yaml\n(.*?)```", text, re.DOTALL):
        Path(name).write_text(source, encoding="utf-8")
    trained, measured, seen = set(), set(zoo.names()), set()
    for command, *words in commands(text):
        seen.add(command)
        names = [word for word in words if not word.startswith("--")]
        if command == "recipes" and names:
            known = [recipes.load(name) for name in names]
            assert all(known)
        elif command == "train":
            name = recipes.load(words[0], words[1:]).name
            trained.add(name)
            measured.discard(name)  # the reader's own stands for the name now
        elif command in ("sample", "evaluate"):
            assert names[0] in trained or zoo.load(names[0]).config.reproduce.publish_weights
            if command == "evaluate" and "inception" not in words:
                measured.add(names[0])
            if command == "sample" and names[0] not in trained:
                conditional = zoo.load(names[0]).config.generator.family == "cgan"
                assert ("--label" in words) == conditional
        elif command == "compare":
            assert set(names) <= measured
        elif command == "reproduce":
            assert recipes.load(names[0]).reproduce.seeds
            assert names[0] not in trained  # with other settings it would be in the way
    assert {"train", "sample", "compare"} <= seen


def test_the_recipe_of_one_s_own_on_the_setup_page_differs_from_its_base(tmp_path) -> None:
    ((name, source),) = re.findall(
        r"`([\w-]+\.yaml)`:\n\n```yaml\n(.*?)```", text_of_setup(), re.DOTALL
    )
    file = tmp_path / name
    file.write_text(source, encoding="utf-8")
    mine = recipes.load(file)
    assert mine.name == file.stem
    base = recipes.load(yaml.safe_load(source)["base"])
    assert set(recipes.differences(mine, base)) == {"generator.hidden", "g_optimizer.lr"}


# --- notebooks as they are committed ---------------------------------------------


def test_there_are_notebooks() -> None:
    assert CHAPTERS
    assert len(SOLUTIONS) == len(CHAPTERS)


@each_notebook
def test_first_cell_installs_from_the_repository_of_the_configuration(path: Path) -> None:
    expected = first_cell()
    cell = nbformat.read(path, as_version=4).cells[0]
    assert cell.cell_type == "code"
    assert cell.source == expected.source, "run `make first-cells`"
    assert cell.metadata == expected.metadata
    assert cell.outputs == []
    later = [
        c.source for c in code_cells(path)[1:] if re.search(r"^\s*[%!]\s*pip ", c.source, re.M)
    ]
    assert later == []


@each_notebook
def test_every_code_cell_was_executed_from_top_to_bottom(path: Path) -> None:
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert [cell.source for cell in cells if not cell.source.strip()] == []
    failed = [
        output.ename
        for cell in cells
        for output in cell.outputs
        if output.output_type == "error" and "raises-exception" not in tags(cell)
    ]
    assert failed == []


@each_notebook
def test_no_cell_is_skipped(path: Path) -> None:
    known = {
        "hide-cell", "hide-input", "hide-output", "nbval-ignore-output", "raises-exception",
        "remove-cell", "remove-input", "remove-output", "remove-stderr",
    }  # fmt: skip
    for cell in code_cells(path):
        # `nbval-skip` is among the unknown ones. A comment would show on the page.
        assert set(tags(cell)) <= known
        assert "NBVAL" not in cell.source
        assert "%%script" not in cell.source


@each_notebook
def test_notebook_carries_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    for cell in notebook.cells:
        assert set(cell.metadata) <= {"tags", "mystnb"}
        for output in cell.get("outputs", []):
            text = written_text(output)
            assert not re.search(r"/(?:root|work|home/\w+|Users/\w+)/", text), text[:300]
            stderr = output.output_type == "stream" and output.name == "stderr"
            assert not (stderr and "nbval-ignore-output" not in tags(cell)), text[:300]


@each_notebook
def test_figures_of_the_notebook_have_alternative_text(path: Path) -> None:
    for cell in code_cells(path):
        of_the_cell = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        pictures = [
            output.metadata.get(mime, {}).get("alt", "") or of_the_cell
            for output in cell.outputs
            for mime in output.get("data", {})
            if mime.startswith("image/")
        ]
        if {"remove-cell", "remove-output"} & set(tags(cell)):
            continue
        assert all(len(alt) >= 20 for alt in pictures), f"describe the figure\n{cell.source}"
        # One text for the whole cell cannot describe two pictures.
        assert len(set(pictures)) == len(pictures), cell.source


# --- what the notebooks test -------------------------------------------------------


def written_text(output: nbformat.NotebookNode) -> str:
    if output.output_type == "stream":
        return output.text
    data = output.get("data", {})
    return "\n".join(str(data[k]) for k in ("text/plain", "text/html", "text/latex") if k in data)


def sanitised(text: str) -> str:
    """The text as nbval compares it."""
    rules = configparser.RawConfigParser()
    rules.read(ROOT / "tests" / "nbval_sanitize.cfg", encoding="utf-8")
    for name in rules.sections():
        text = re.sub(rules[name]["regex"], rules[name]["replace"], text, flags=re.MULTILINE)
    return text


def is_left_uncompared(cell: nbformat.NotebookNode) -> bool:
    return "nbval-ignore-output" in tags(cell)


def can_trip(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell contains an assertion, or shows a number that is compared."""
    if re.search(r"^\s*assert\b|\bassert_\w+\(", cell.source, re.MULTILINE):
        return True
    if is_left_uncompared(cell):
        return False
    return any(re.search(r"\d", sanitised(written_text(output))) for output in cell.outputs)


@each_chapter
def test_most_of_a_chapter_is_compared(path: Path) -> None:
    cells = code_cells(path)
    uncompared = [cell.source for cell in cells if is_left_uncompared(cell)]
    assert len(uncompared) <= 0.15 * len(cells), "\n---\n".join(uncompared)


@each_chapter
def test_half_of_a_chapter_can_trip_over_a_wrong_library(path: Path) -> None:
    cells = code_cells(path)
    cannot = [cell.source for cell in cells if not can_trip(cell)]
    assert len(cannot) <= 0.5 * len(cells), "\n---\n".join(cannot)


def test_the_course_as_a_whole_is_compared() -> None:
    cells = [cell for path in NOTEBOOKS for cell in code_cells(path)]
    assert sum(map(is_left_uncompared, cells)) <= 0.15 * len(cells)
    assert sum(map(can_trip, cells)) >= 0.5 * len(cells)


def test_the_rule_for_cells_that_can_trip_is_itself_right() -> None:
    def cell(source: str, *outputs, tags=()) -> nbformat.NotebookNode:
        made = nbformat.v4.new_code_cell(source, outputs=list(outputs))
        made.metadata["tags"] = list(tags)
        return made

    def shown(**data) -> nbformat.NotebookNode:
        return nbformat.v4.new_output("display_data", data=data)

    number = nbformat.v4.new_output("stream", text="share 0.91\n")
    figure = shown(**{"image/png": "AAAA1", "text/plain": "<Figure size 640x480 with 1 Axes>"})
    bar = nbformat.v4.new_output("stream", text=" 40%|####      | 4/10 [00:01<00:02]\n")
    assert can_trip(cell("f()", number))
    assert can_trip(cell("for _ in range(2):\n    assert f() > .6"))
    assert not can_trip(cell("f()", number, tags=["nbval-ignore-output"]))
    assert can_trip(cell("assert f() > .6", number, tags=["nbval-ignore-output"]))
    assert not can_trip(cell("f()  # assert nothing"))
    assert not can_trip(cell("plot()", figure))
    assert not can_trip(cell("fit()", bar))


# --- packaging ---------------------------------------------------------------------


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


def pinned() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def test_requirements_pin_every_version_and_name_no_server() -> None:
    for requirements in pinned().values():
        for requirement in requirements:
            assert [s.operator for s in requirement.specifier] == ["=="], requirement
            assert requirement.url is None
    assert "://" not in (ROOT / "requirements.txt").read_text(encoding="utf-8")


def test_requirements_are_in_line_with_the_project() -> None:
    pins = pinned()
    for requirement in declared():
        name = canonicalize_name(requirement.name)
        if name == "gantut":
            continue
        assert name in pins, f"{name}: run `make requirements`"
        for pin in pins[name]:
            (exact,) = pin.specifier
            assert requirement.specifier.contains(exact.version), f"{pin} against {requirement}"


def test_the_library_has_lower_bounds_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for line in project["dependencies"]:
        operators = [specifier.operator for specifier in Requirement(line).specifier]
        # In Colab a pin would replace the session's torch.
        assert operators == [">="], line


def test_a_plain_import_is_light() -> None:
    heavy = ("torch", "torchvision", "matplotlib", "ipywidgets", "scipy", "pandas")
    code = (
        "import sys, gantut; gantut.__version__; "
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_wheel_carries_recipes_and_finished_runs(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    (wheel,) = tmp_path.glob("gantut-*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    package = [
        path.relative_to(ROOT).as_posix()
        for path in committed_files()
        if path.is_relative_to(ROOT / "gantut")
    ]
    assert set(package) <= inside
    assert any(name.startswith("gantut/recipes/") and name.endswith(".yaml") for name in inside)
    assert not [name for name in inside if name.startswith(("tests/", "book/"))]
