"""Every page works in a browser: light and dark, wide and narrow, for everybody."""

from __future__ import annotations

import functools
import json
from importlib.resources import files

import pytest

from .conftest import HTML, pages

WIDTHS = {"wide": 1280, "narrow": 390}

# What axe finds in the theme's own markup, which no page can change:
# rule -> [(part of the CSS selector, reason)].
OWNED_BY_THE_THEME: dict[str, list[tuple[str, str]]] = {}


def test_the_book_is_built() -> None:
    assert (HTML / "index.html").is_file(), "no built book: run `make book` first"
    assert len(pages()) >= 3


class Opened:
    """A page after loading, with everything that went wrong on the way."""

    def __init__(self, context, address: str, path: str) -> None:
        self.problems: list[str] = []
        self.page = page = context.new_page()
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"script error: {error}"))
        page.on("requestfailed", lambda request: self.problems.append(f"no answer: {request.url}"))
        page.goto(address + path, wait_until="load")
        page.wait_for_function("!window.MathJax || window.MathJax.startup?.promise !== undefined")
        page.evaluate("window.MathJax ? window.MathJax.startup.promise : null")

    def _console(self, message) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text} ({message.location.get('url')})")


@pytest.fixture(scope="session")
def context_of(browser):
    """A browser context for a colour scheme and a width: what pages share is loaded once in each."""

    @functools.cache
    def context_of(scheme: str, width: str):
        context = browser.new_context(
            viewport={"width": WIDTHS[width], "height": 900}, color_scheme=scheme
        )
        # A busy machine starts Chromium slowly; the limit of a test catches what hangs.
        context.set_default_timeout(120_000)
        return context

    return context_of


@pytest.fixture(scope="module")  # pytest runs the tests of one variant in a row: opened once
def opened(request, context_of, address):
    path, scheme, width = request.param
    opened = Opened(context_of(scheme, width), address, path)
    yield opened
    opened.page.close()


EVERY_VARIANT = [(scheme, width) for scheme in ("light", "dark") for width in WIDTHS]


def variants(wanted=EVERY_VARIANT):
    chosen = [(path, scheme, width) for path in pages() for scheme, width in wanted]
    return pytest.mark.parametrize("opened", chosen, indirect=True, ids="-".join)


@pytest.mark.browser
@variants()
def test_page_opens_without_errors_and_fits(opened, request) -> None:
    page = opened.page
    scheme = request.node.callspec.params["opened"][1]
    assert page.evaluate("document.documentElement.dataset.theme") == scheme

    excess, culprits = page.evaluate(
        """() => {
          const root = document.documentElement;
          const wide = [...document.querySelectorAll('.bd-main *')].filter(
            e => e.getBoundingClientRect().right > root.clientWidth + 1);
          return [root.scrollWidth - root.clientWidth,
                  wide.slice(0, 5).map(e => e.outerHTML.slice(0, 120))];
        }"""
    )
    assert excess <= 0, f"the page scrolls sideways by {excess} px: {culprits}"

    formulas, typeset, wrong = page.evaluate(
        """() => [document.querySelectorAll('span.math, div.math').length,
                  document.querySelectorAll(':is(span, div).math mjx-container').length,
                  [...document.querySelectorAll('mjx-merror')].map(e => e.title || e.innerText)]"""
    )
    assert wrong == [], f"formulas that MathJax cannot read: {wrong}"
    assert typeset >= formulas, f"{formulas} formulas, but only {typeset} are set"

    # Lazy pictures load when they come into view.
    page.evaluate("document.querySelectorAll('img').forEach(i => i.loading = 'eager')")
    broken = page.evaluate(
        """async () => {
          const all = [...document.images];
          await Promise.all(all.map(i => i.decode().catch(() => null)));
          return all.filter(i => i.naturalWidth === 0).map(i => i.src);
        }"""
    )
    assert broken == []
    assert opened.problems == []


@pytest.mark.browser
# Contrast depends on the colours, and what is shown on the width: each is met twice.
@variants([("light", "wide"), ("dark", "narrow")])
def test_page_has_no_serious_accessibility_violation(opened, request) -> None:
    page = opened.page
    # A chapter has thousands of coloured tokens, and axe measures the contrast of each: one of each
    # kind is enough, with its colour on its ground.
    page.evaluate(
        """() => {
          const seen = new Set(), again = [];
          // All styles are read before anything is changed: a change would undo their layout.
          for (const block of document.querySelectorAll('pre')) {
            const ground = getComputedStyle(block).backgroundColor;
            for (const token of block.querySelectorAll('span')) {
              const kind = `${token.className} ${getComputedStyle(token).color} ${ground}`;
              if (seen.has(kind)) again.push(token);
              else seen.add(kind);
            }
          }
          for (const token of again) token.replaceWith(...token.childNodes);
        }"""
    )
    page.add_script_tag(
        content=files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    )
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert found["passes"], "axe looked at nothing"
    violations = [
        f"{violation['impact']} {violation['id']}: {violation['help']}\n"
        f"    {json.dumps(node['target'])} {node['html'][:160]}\n"
        f"    {node['failureSummary']}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
        if not is_owned_by_the_theme(violation["id"], node["target"])
    ]
    assert not violations, "\n".join(violations)


def is_owned_by_the_theme(rule: str, target: list) -> bool:
    selector = json.dumps(target)
    return any(part in selector for part, _ in OWNED_BY_THE_THEME.get(rule, []))


@pytest.mark.browser
@variants([("light", "wide")])
def test_every_figure_has_alternative_text(opened) -> None:
    pictures = opened.page.evaluate(
        """[...document.querySelectorAll('article img')].map(i => [i.getAttribute('src'), i.alt])"""
    )
    lacking = [
        source
        for source, alt in pictures
        # Sphinx writes the file's address where an author wrote nothing.
        if not alt or len(alt) < 20 or "_images/" in alt or alt == source
    ]
    assert lacking == [], "figures without a description (cell metadata mystnb: image: alt)"
