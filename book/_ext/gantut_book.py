"""What this book needs from Sphinx beyond `_config.yml`.

1. MathJax comes from the package `sphinx-mathjax-offline`, not from a CDN, so a
   built book shows its formulas offline and no page waits for another server.
2. `sphinx-thebe`, which Jupyter Book always loads, is taken out again: its
   scripts declare a constant twice and leave an error in every page's console.
3. The repository behind the buttons is `GITHUB_REPOSITORY` where that is set, so
   a fork's build links to the fork.
4. Each page says at its end when it was created and last changed, and when it
   was last verified if the build knows (`GANTUT_VERIFIED`, a date: set where the
   build follows a passing test run).
5. The description that a picture carries (`gantut.plots`: metadata of the output)
   becomes the alternative text of the page's image. MyST-NB by itself knows only
   one text for a whole cell, in the cell's metadata.
6. The API page links each object to its source on GitHub: pages that repeat the
   source would be as many as those of the course.
7. Wide tables scroll in a box that the keyboard reaches, and the bibliography is
   marked up as what it is.
8. The keys of a recipe stand in tables: see `recipe_keys.py`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import NbElementRenderer
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)

# The parts of MathJax that a page can ask for: the component itself, the TeX
# packages that it loads on demand, its fonts, and its menu with the English
# speech rules (the other languages weigh 4 MB).
MATHJAX_PARTS = (
    "tex-mml-chtml.js",
    "input",
    "output/chtml",
    "ui",
    "a11y",
    "sre",
)
MATHJAX_LEFT_OUT = re.compile(r"sre/mathmaps/(?!base|en|nemeth)")


def remove_thebe(app: Sphinx) -> None:
    for listeners in app.events.listeners.values():
        listeners[:] = [
            listener
            for listener in listeners
            if not getattr(listener.handler, "__module__", "").startswith(
                "sphinx_thebe"
            )
        ]
    app.registry.css_files[:] = [
        entry
        for entry in app.registry.css_files
        if "thebe" not in str(entry[0])
    ]


def configure(app: Sphinx, config: Config) -> None:
    config.mathjax_path = "mathjax/tex-mml-chtml.js"
    # The theme reports an error in the console when it finds no mode on a first visit.
    config.html_context.setdefault("default_mode", "auto")
    options = config.html_theme_options
    if repository := os.environ.get("GITHUB_REPOSITORY"):
        server = os.environ.get("GITHUB_SERVER_URL", "https://github.com")
        options["repository_url"] = f"{server}/{repository}"
        # A pull request builds under a ref that has no page of its own.
        if os.environ.get("GITHUB_REF_TYPE") == "branch" and os.environ.get(
            "GITHUB_REF_NAME"
        ):
            options["repository_branch"] = os.environ["GITHUB_REF_NAME"]

    config.linkcode_resolve = functools.partial(source_on_github, options)


def source_on_github(options: dict, domain: str, info: dict) -> str | None:
    """The address of an object's first line, or None where there is none to show."""
    if domain != "py" or not info["module"].startswith("gantut"):
        return None
    found = importlib.import_module(info["module"])
    try:
        for name in info["fullname"].split("."):
            found = inspect.getattr_static(found, name)
        if isinstance(found, property):
            found = found.fget
        found = inspect.unwrap(getattr(found, "__func__", found))
        path = Path(inspect.getsourcefile(found)).resolve()
        line = inspect.getsourcelines(found)[1]
        relative = path.relative_to(Path(__file__).resolve().parents[2])
    except (AttributeError, TypeError, OSError, ValueError):
        return (
            None  # a field, a constant, or something inherited from a library
        )
    branch = options.get("repository_branch", "main")
    return f"{options['repository_url']}/blob/{branch}/{relative.as_posix()}#L{line}"


def copy_mathjax(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    spec = find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "sphinx-mathjax-offline is missing: install requirements.txt"
        )
    source = Path(spec.origin).parent / "static" / "mathjax"
    target = Path(app.outdir) / "_static" / "mathjax"
    for part in MATHJAX_PARTS:
        origin = source / part
        for path in [origin] if origin.is_file() else sorted(origin.rglob("*")):
            relative = path.relative_to(source)
            if path.is_file() and not MATHJAX_LEFT_OUT.match(
                relative.as_posix()
            ):
                (target / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / relative)


def history(source: Path) -> tuple[str, str] | None:
    """Dates of the first and the last commit of a file; None outside a checkout."""
    command = ["git", "log", "--follow", "--format=%cs", "--", source.name]
    try:
        found = subprocess.run(
            command,
            cwd=source.parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    dates = found.stdout.split()
    return (dates[-1], dates[0]) if dates else None


def finish_page(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree
) -> None:
    if doctree is None or pagename not in app.env.found_docs:
        return
    # docutils calls the bibliography a list, but its entries are no list items.
    context["body"] = context["body"].replace(
        '<div role="list" class="citation-list">', '<div class="citation-list">'
    )
    dates = history(Path(app.env.doc2path(pagename)))
    pieces = []
    if dates:
        pieces = [f"Created {dates[0]}", f"last changed {dates[1]}"]
    if verified := os.environ.get("GANTUT_VERIFIED"):
        pieces.append(f"all cells last verified {verified}")
    if pieces:
        context["body"] += f'<p class="gantut-dates">{" · ".join(pieces)}</p>\n'


def describe_pictures() -> None:
    plain = NbElementRenderer.render_image

    def render_image(self, data):
        rendered = plain(self, data)
        alt = data.output_metadata.get(data.mime_type, {}).get("alt")
        if alt:
            for node in rendered:
                node["alt"] = alt
        return rendered

    NbElementRenderer.render_image = render_image


class KeyboardScrolling(SphinxPostTransform):
    """Wide tables get a box of their own, which scrolls and takes the focus."""

    default_priority = 800

    def run(self, **kwargs) -> None:
        if self.app.builder.format != "html":
            return
        for table in list(self.document.findall(nodes.table)):
            before = nodes.raw(
                "",
                '<div class="gantut-scroll" tabindex="0" role="group" aria-label="Table">',
                format="html",
            )
            after = nodes.raw("", "</div>", format="html")
            parent, at = table.parent, table.parent.index(table)
            parent[at : at + 1] = [before, table, after]


def setup(app: Sphinx) -> dict:
    remove_thebe(app)
    describe_pictures()
    # Before sphinx.ext.mathjax and the theme look at the configuration.
    app.connect("config-inited", configure, priority=100)
    app.connect("html-page-context", finish_page)
    app.connect("build-finished", copy_mathjax)
    app.add_post_transform(KeyboardScrolling)
    app.setup_extension("recipe_keys")
    app.add_js_file("gantut.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
