"""A real browser that looks at a page: what it logs, asks for and shows."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")

GRAVE = {"serious", "critical"}


def found_browser() -> str | None:
    """Path of a Chromium: the one in `OVERNIGHT_BROWSER`, or one on the path."""
    named = os.environ.get("OVERNIGHT_BROWSER")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield started
        started.close()


@dataclass
class Visit:
    """A page that was opened, with all that went wrong in it and all that it asked for."""

    page: Page
    seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def matched(self) -> str:
        """What the page says that its filters leave."""
        return self.page.locator("#matched").inner_text()

    def until(self, holds: Callable[[], bool], seconds: float = 10) -> None:
        """Waits; the page's own policy forbids the browser's way of doing so."""
        ended = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < ended, "it never came to hold"
            self.page.wait_for_timeout(20)

    def figure(self, name: str) -> float | None:
        """The number that the page shows under a name; None where it shows a dash."""
        value = self.page.locator(f'[data-figure="{name}"]').get_attribute("data-value")
        return float(value) if value else None

    def figures(self) -> dict[str, float]:
        shown = self.page.locator("[data-figure]").evaluate_all(
            "all => all.map(one => [one.dataset.figure, one.dataset.value])"
        )
        return {name: float(value) for name, value in shown if value}

    def faults(self) -> list[str]:
        """What axe-core finds serious or worse."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:200]}"
            for one in found
            if one["impact"] in GRAVE
            for node in one["nodes"]
        ]


@contextmanager
def visit(browser: Browser, path: Path, **options: object) -> Iterator[Visit]:
    """Opens a page from the disk and waits until it shows its list or matrix."""
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **options})
    seen = Visit(page)
    page.on("console", lambda said: seen.errors.append(said.text))
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("dialog", lambda dialog: (seen.errors.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: seen.requests.append(request.url))
    began = time.monotonic()
    page.goto(path.as_uri())
    seen.until(lambda: page.locator("#matched").inner_text() != "")
    seen.seconds = time.monotonic() - began
    yield seen
    page.close()
