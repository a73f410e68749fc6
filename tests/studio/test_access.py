"""Whether the studio can be used without a mouse, and what axe-core says of its pages."""

import pytest

from tests.studio.test_browser import done, few_steps, open_tab, start

TABS = ("Make", "Repair", "Song", "Compare", "Runs", "Data")
SIZES = {"desktop": (1280, 900), "phone": (390, 800)}
GRAVE = ("serious", "critical")
CONTROLS = "button, input, select, textarea, a[href], audio, summary, [role=slider], [role=tab]"
# A group of radio buttons and a row of tabs are one stop; arrow keys lead through them.
MISSED = """() => {
    const groups = new Set(window.reached.map((e) => e.closest("[role=tablist], fieldset")));
    return [...document.querySelectorAll("CONTROLS")]
        .filter((e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
        .filter((e) => !e.disabled && !e.closest("[inert], [aria-hidden=true]"))
        .filter((e) => !window.reached.includes(e))
        .filter((e) => !(e.matches("[role=tab], [type=radio]")
            && groups.has(e.closest("[role=tablist], fieldset"))))
        .map((e) => e.outerHTML.slice(0, 150)); }""".replace("CONTROLS", CONTROLS)


def violations(page):
    """Return what axe-core finds grave in a page, in lines that say where."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary']}"
        for one in found
        if one["impact"] in GRAVE
        for node in one["nodes"]
    ]


def fill(page, name, music):
    """Put a tab into the state in which it shows most."""
    open_tab(page, name)
    if name == "Repair":
        page.locator("input[type=file]:visible").set_input_files(music / "music" / "low" / "0.wav")
        page.locator(".view.regional:visible").wait_for()
        page.get_by_label("From, in seconds").fill("0.5")
        page.get_by_label("To, in seconds").fill("1.5")
        page.locator(".handle:visible").first.wait_for()
    for button in page.locator("button.label-wrap:visible").all():
        if "open" not in (button.get_attribute("class") or "").split():
            button.click()


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_grave(page, music, size):
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    few_steps(page, 2)
    done(start(page, page.get_by_role("button", name="Make", exact=True)))
    for name in TABS:
        fill(page, name, music)
        assert not violations(page), name
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_every_control_is_reached_by_the_tab_key(page, music):
    for name in TABS:
        fill(page, name, music)
        page.evaluate(
            "window.reached = []; document.activeElement.blur();"
            "document.addEventListener('focusin', (e) => window.reached.push(e.target))"
        )
        for _ in range(3):  # clips of earlier tests may appear during a walk
            walk(page, name)
            if not page.evaluate(MISSED):
                break
        assert not page.evaluate(MISSED), name


def walk(page, name):
    """Press Tab from a tab's name to the end of the page."""
    page.get_by_role("tab", name=name, exact=True).focus()
    for _ in range(1000):  # the clips have controls, too
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement === document.body"):
            break


@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_grave_in_a_listening_page(page, served, size):
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.goto(f"{served.url}/studio/files/music/run/index.html")
    assert not violations(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
