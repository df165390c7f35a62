"""Nothing on a page is clipped, broken into letters, or drawn too small, however wide it is."""

import pytest

from tests.support.browser import Visit, visit

WIDTHS = (360, 800, 1300)

FAULTS = """() => {
    const LEAST_CHARACTERS = 4;  // of a line, on average
    const LEAST_PIXELS = 8;  // of a label of a chart
    const faults = new Set();
    const blame = (what, node, text) =>
        faults.add(`${what}: ${node.className || node.tagName} ${text.slice(0, 60)}`);
    const scrolls = style => ["auto", "scroll"].includes(style.overflowX);
    const isCut = (node, rect) => {
        for (let at = node; at !== document.documentElement; at = at.parentElement) {
            const style = getComputedStyle(at);
            if (scrolls(style) || style.textOverflow === "ellipsis") return false;
            if (style.overflowX === "visible") continue;
            const box = at.getBoundingClientRect();
            if (rect.left < box.left - 1 || rect.right > box.right + 1) return true;
        }
        return rect.right > innerWidth + 1;
    };
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const text = texts.currentNode.textContent.trim(), node = texts.currentNode.parentElement;
        if (!text || ["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)) continue;
        if (node.closest(".hidden, .skip, svg") || !node.checkVisibility()) continue;
        const range = document.createRange();
        range.selectNodeContents(texts.currentNode);
        const rects = [...range.getClientRects()].filter(one => one.width > 0);
        const lines = new Set(rects.map(one => Math.round(one.top))).size;
        if (lines > 1 && text.length / lines < LEAST_CHARACTERS) blame("letters", node, text);
        if (rects.some(rect => isCut(node, rect))) blame("clipped", node, text);
    }
    const pen = document.createElement("canvas").getContext("2d");
    for (const node of document.querySelectorAll("select, input[placeholder]")) {
        if (!node.checkVisibility()) continue;
        const text = node.placeholder || node.selectedOptions[0].textContent;
        const { font, paddingLeft, paddingRight } = getComputedStyle(node);
        pen.font = font;
        const button = 16;  // an arrow, or the cross that empties a search
        const room = node.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - button;
        if (pen.measureText(text).width > room) blame("clipped", node, text);
    }
    for (const node of document.querySelectorAll(".grid .heading")) {
        if (document.querySelector("[name=shape]").value === "papers") break;  // whole questions
        const isCutOff = node.checkVisibility() && node.scrollWidth > node.clientWidth + 1;
        if (isCutOff) blame("clipped", node, node.textContent);
    }
    for (const node of document.querySelectorAll("figure svg text")) {
        const { height } = node.getBoundingClientRect();
        if (height > 0 && height < LEAST_PIXELS) blame("small", node, node.textContent);
    }
    return [...faults];
}"""


def faults(seen: Visit) -> list[str]:
    return seen.page.evaluate(FAULTS)


@pytest.fixture(scope="module", autouse=True)
def _jobs_before_browser(demo, comparison) -> None:
    """Runs the jobs before the browser starts, whose event loop would stop them."""


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_of_a_run_is_clipped_or_broken_into_letters(demo, chromium, width):
    with visit(chromium, demo, viewport={"width": width, "height": 900}) as seen:
        assert faults(seen) == []
        for view in ("matrix", "first", "table"):
            seen.view(view)
            seen.more()
            assert faults(seen) == []
        for choice, value in (("shape", "papers"), ("shape", "answers"), ("group", "question")):
            seen.page.select_option(f"[name={choice}]", value)
            seen.page.wait_for_timeout(100)
            assert faults(seen) == []
        seen.page.select_option("[name=group]", "")
        seen.page.locator("#table .value").first.click()
        seen.page.locator("dialog[open]").wait_for()
        assert faults(seen) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_no_text_of_a_comparison_is_clipped_or_broken_into_letters(comparison, chromium, width):
    with visit(chromium, comparison, viewport={"width": width, "height": 900}) as seen:
        assert faults(seen) == []
        seen.page.locator("#changes button").first.click()
        seen.page.locator("dialog[open]").wait_for()
        assert faults(seen) == []
