"""A page in a real browser: what it logs, requests and shows."""

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

FAULTS = {"serious", "critical"}

PATIENCE = 60.0
"""Seconds that a page may take for anything while other tests keep the machine busy."""


def found_browser() -> str | None:
    """The path of a Chromium: `OVERNIGHT_BROWSER`, or one on the path."""
    named = os.environ.get("OVERNIGHT_BROWSER")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def browser(path: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield started
        started.close()


MAKE_ELEMENTS = """() => {
    const began = performance.now();
    const made = document.createElement("div");
    for (let at = 0; at < 3000; at++) {
        const one = document.createElement("div");
        one.setAttribute("role", `row ${at}`);
        one.append(`cell ${at}`);
        made.append(one);
    }
    return performance.now() - began;
}"""


@dataclass
class Visit:
    """An open page, with its errors and requests so far, and what it took until it showed rows: of
    the clock, and of all threads of its process, which other load of the machine hardly changes.
    """

    page: Page
    seconds: float = 0.0
    processor_seconds: float = 0.0
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def matched(self) -> str:
        """What the page says about the records that its filters match."""
        return self.page.locator("#matched").inner_text()

    def view(self, name: str) -> None:
        """Has a page about a run show its answers as `table`, `matrix` or `first`."""
        self.page.check(f"[name=view][value={name}]")

    def more(self) -> None:
        """Opens the filters that are folded."""
        self.page.locator("details.more").evaluate("one => one.open = true")

    def until(self, is_so: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Waits. The page's own policy forbids Playwright's `wait_for_function`."""
        deadline = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < deadline, "the condition never held"
            self.page.wait_for_timeout(20)

    def slowness(self) -> float:
        """How many times longer than 7 ms, as a machine of two cores takes that does nothing else,
        this one takes now to make 3,000 elements; at least 1.
        """
        return max(1.0, min(self.page.evaluate(MAKE_ELEMENTS) for _ in range(3)) / 7)

    def figure(self, name: str) -> float | None:
        """The number that the page shows under a name; None if it shows a dash."""
        value = self.page.locator(f'[data-figure="{name}"]').get_attribute("data-value")
        return float(value) if value else None

    def figures(self) -> dict[str, float]:
        pairs = self.page.locator("[data-figure]").evaluate_all(
            "all => all.map(one => [one.dataset.figure, one.dataset.value])"
        )
        return {name: float(value) for name, value in pairs if value}

    def faults(self) -> list[str]:
        """Elements that violate a rule of axe-core whose impact is serious or critical."""
        violations = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {node['html'][:200]}"
            for one in violations
            if one["impact"] in FAULTS
            for node in one["nodes"]
        ]


@contextmanager
def visit(browser: Browser, path: Path, before: str = "", **options: object) -> Iterator[Visit]:
    """Opens a page from the disk and waits until it shows its rows; a script may run
    `before` the page's own.
    """
    page = browser.new_page(**{"viewport": {"width": 1280, "height": 800}, **options})
    if before:
        page.add_init_script(before)
    page.set_default_timeout(1000 * PATIENCE)
    visited = Visit(page)
    page.on("console", lambda message: visited.errors.append(message.text))
    page.on("pageerror", lambda error: visited.errors.append(str(error)))
    page.on("dialog", lambda dialog: (visited.errors.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: visited.requests.append(request.url))
    chromium = page.context.new_cdp_session(page)
    chromium.send("Performance.enable")
    began = time.monotonic()
    page.goto(path.as_uri())
    visited.until(lambda: page.locator("#matched").inner_text() != "")
    visited.seconds = time.monotonic() - began
    metrics = chromium.send("Performance.getMetrics")["metrics"]
    visited.processor_seconds = {m["name"]: m["value"] for m in metrics}["ProcessTime"]
    of_first = page.locator("#progress")  # of a page about a run, which is done with this
    visited.until(lambda: not of_first.count() or of_first.text_content() != "")
    yield visited
    page.close()
