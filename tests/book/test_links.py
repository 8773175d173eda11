"""Links between the pages lead somewhere, and the buttons lead to this repository."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.tools.execute import repository_url

from .conftest import HTML, pages


class Links(HTMLParser):
    """What a page links to, and the places in it that can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if given.get("id"):
            self.ids.add(given["id"])
        for key in ("href", "src"):
            if given.get(key) and tag != "base":
                self.targets.append(given[key])


def read(path: Path, known: dict[Path, Links]) -> Links:
    if path not in known:
        known[path] = Links()
        known[path].feed(path.read_text(encoding="utf-8"))
    return known[path]


@pytest.fixture(scope="module")
def known() -> dict[Path, Links]:
    return {}


@pytest.mark.parametrize("page", pages())
def test_links_between_pages_resolve(page: str, known: dict[Path, Links]) -> None:
    source = HTML / page
    broken = []
    for target in read(source, known).targets:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = (source.parent / unquote(parts.path)).resolve() if parts.path else source
        fragment = unquote(parts.fragment) if path.suffix == ".html" else ""
        if not path.is_file() or (fragment and fragment not in read(path, known).ids):
            broken.append(target)
    assert broken == []


def notebook_pages() -> list[str]:
    return [p for p in pages() if (HTML / "_sources" / p).with_suffix(".ipynb").is_file()]


@pytest.mark.parametrize("page", notebook_pages())
def test_notebook_pages_open_in_colab(page: str, known: dict[Path, Links]) -> None:
    repository = repository_url().removeprefix("https://github.com/")
    repository = os.environ.get("GITHUB_REPOSITORY", repository)
    start = f"https://colab.research.google.com/github/{repository}/blob/"
    links = [t for t in read(HTML / page, known).targets if "colab.research.google.com" in t]
    assert links
    for link in links:
        assert link.startswith(start)
        assert link.endswith("/" + page.removesuffix(".html") + ".ipynb")
