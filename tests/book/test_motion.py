"""Animated pictures can be stopped, and stand still for those who ask for less motion."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from .conftest import HTML


def moving_picture() -> bytes:
    frames = [Image.new("L", (16, 16), shade) for shade in (0, 120, 255)]
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], loop=0, duration=[4000, 40, 40]
    )
    return file.getvalue()


@pytest.fixture
def page_with_motion(browser, address):
    """A function that opens a page with an animation, under a preference for motion."""
    contexts = []

    def open_page(preference: str):
        context = browser.new_context(reduced_motion=preference)
        contexts.append(context)
        page = context.new_page()
        script = (HTML / "_static" / "gantut.js").read_text(encoding="utf-8")
        body = (
            f"<script>{script}</script>"
            '<main class="bd-content"><img alt="three shades" src="moving.gif"></main>'
        )
        page.route("**/moving.html", lambda r: r.fulfill(body=body, content_type="text/html"))
        page.route(
            "**/moving.gif", lambda r: r.fulfill(body=moving_picture(), content_type="image/gif")
        )
        page.goto(address + "moving.html", wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.browser
def test_a_button_stops_and_starts_an_animation(page_with_motion) -> None:
    page = page_with_motion("no-preference")
    picture, button = page.locator("img"), page.get_by_role("button")
    assert picture.get_attribute("src").endswith("moving.gif")
    button.click()
    assert picture.get_attribute("src").startswith("data:image/png")
    assert button.inner_text() == "Play the animation"
    button.click()
    assert picture.get_attribute("src").endswith("moving.gif")


@pytest.mark.browser
def test_an_animation_stands_still_where_less_motion_is_asked_for(page_with_motion) -> None:
    page = page_with_motion("reduce")
    page.wait_for_function("document.images[0].src.startsWith('data:image/png')")
    assert page.get_by_role("button").inner_text() == "Play the animation"
