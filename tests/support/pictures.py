"""`make pictures`: the README's pictures of a real run on a terminal and of a page in a browser.

A model of random weights answers the demo, so that tokens and repairs can be seen on the terminal.
The page is that of a plain run of the demo.
"""

import html
import os
import pty
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyte
from playwright.sync_api import Browser

from tests.support.browser import browser, found_browser, visit
from tests.support.jobs import ROOT, SMALL_ENGINE
from tests.support.models import make_model

PICTURES = ROOT / "docs" / "pictures"
COLUMNS, LINES = 100, 30
SCHEMES = ("light", "dark")
COLOURS = {"default": "#e8e6e1", "red": "#ef7d73", "green": "#55b389", "brown": "#d9b04b"}

RELATIVE = "(one, root) => { one.firstChild.data = one.firstChild.data.replace(root, 'file://') }"
"""Leaves out where this machine has the project."""

Screen = list[str]
"""A terminal's lines, as HTML."""


def main() -> None:
    path = found_browser()
    if path is None:
        sys.exit("no Chromium on the path, and OVERNIGHT_BROWSER names none")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="overnight-") as folder, browser(path) as chromium:
        model = make_model(Path(folder) / "model")
        options = ",".join(f"{name}: {value}" for name, value in SMALL_ENGINE.items())
        screens = screens_of(
            *("run", "conf/demo/job.yaml", f"output.uri={folder}/generated"),
            *("engine.kind=vllm", f"engine.model={model}", "engine.gpus_per_replica=0"),
            *(
                f"engine.options={{{options}}}",
                "answer.decoding=enforced",
                "answer.max_words=60",
                "failure_budget=1",
            ),
        )
        working = [screen for screen in screens if "completion tokens/s" in "".join(screen)]
        draw_terminal(chromium, "terminal", working[len(working) // 2] + [""] + screens[-1])
        screens_of("run", "conf/demo/job.yaml", f"output.uri={folder}/demo")
        (page,) = Path(folder).glob("demo/runs/*/report.html")
        for scheme in SCHEMES:
            draw_page(chromium, page, scheme)


def screens_of(*arguments: str) -> list[Screen]:
    """The screens of a command on a terminal, taken a few times a second."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    controller, terminal = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "jobs", *arguments],
        cwd=ROOT,
        stderr=terminal,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "COLUMNS": str(COLUMNS), "LINES": str(LINES), "HF_HUB_OFFLINE": "1"},
    )
    os.close(terminal)
    screens = []
    while command.poll() is None:
        ready, _, _ = select.select([controller], [], [], 0.2)
        if ready:
            feed(controller, stream)
        screens.append(lines_of(screen))
    feed(controller, stream)
    return [*screens, lines_of(screen)]


def feed(controller: int, stream: pyte.ByteStream) -> None:
    try:
        stream.feed(os.read(controller, 2**16))
    except OSError:  # the other end is closed
        time.sleep(0.05)


def lines_of(screen: pyte.Screen) -> Screen:
    lines = []
    for number in range(screen.lines):
        row = screen.buffer[number]
        lines.append("".join(html_of(row[column]) for column in range(screen.columns)))
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def html_of(char: pyte.screens.Char) -> str:
    text = html.escape(char.data)
    colour = COLOURS.get(char.fg, f"#{char.fg}" if len(char.fg) == 6 else COLOURS["default"])
    if char.bold or colour != COLOURS["default"]:
        weight = "bold" if char.bold else "normal"
        return f'<span style="color:{colour};font-weight:{weight}">{text}</span>'
    return text


def draw_terminal(chromium: Browser, name: str, screen: Screen) -> None:
    page = chromium.new_page(viewport={"width": 900, "height": 600}, device_scale_factor=1.5)
    page.set_content(
        f'<pre style="background:#15171c;color:{COLOURS["default"]};display:inline-block;'
        'font:14px/1.35 monospace;border-radius:8px;margin:0;padding:18px">'
        + "\n".join(screen)
        + "</pre>"
    )
    page.locator("pre").screenshot(path=PICTURES / f"{name}.png")
    page.close()


def draw_page(chromium: Browser, path: Path, scheme: str) -> None:
    size = {"width": 1200, "height": 860}
    with visit(chromium, path, viewport=size, color_scheme=scheme) as visited:
        page = visited.page
        page.screenshot(path=PICTURES / f"report-{scheme}.png")
        page.fill("[name=text]", "AdamW")
        visited.until(lambda: not visited.matched().startswith("76 "))
        page.locator("#table .value", has_text="AdamW").first.click()
        page.locator("dialog mark").first.wait_for()
        page.locator("dialog .facts").last.evaluate(RELATIVE, ROOT.as_uri())
        page.screenshot(path=PICTURES / f"answer-{scheme}.png")


if __name__ == "__main__":
    main()
