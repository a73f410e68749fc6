"""The studio in Chromium: make, cancel, repair by dragging, song, votes; skipped without it."""

import csv
import time

from tests.studio.conftest import WAIT


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def few_steps(page, steps):
    """Open the sampler of the tab that is shown, and set its steps."""
    page.locator("button:visible", has_text="Sampler").click()
    page.locator("input[name=steps]:visible").fill(str(steps))


def newest(page):
    return page.locator(".job:visible").first


def done(page, state="done"):
    """Wait until the newest job is over; return its card."""
    page.locator(f".job:visible:first-child[data-state={state}]").wait_for()
    return newest(page)


def plays(page, audio):
    """Say whether a player gets its sound and goes on."""
    return audio.evaluate(
        """async (audio) => { audio.muted = true; await audio.play();
        await new Promise((go) => setTimeout(go, 300)); audio.pause();
        return audio.currentTime > 0; }"""
    )


def test_make_then_vary_and_start_from_a_clip(page):
    page.get_by_label("number input for Seconds").first.fill("2")
    few_steps(page, 2)
    page.get_by_role("button", name="Make", exact=True).click()
    card = done(page)
    assert card.locator("audio").count() == 1
    assert plays(page, card.locator("audio").first)
    assert "2 s" in card.locator("h2").inner_text()
    card.get_by_role("button", name="Use as init").click()
    page.locator(".source:visible .view").wait_for()
    card.get_by_role("button", name="Again").click()
    page.wait_for_function("document.querySelectorAll('.jobs')[0].children.length > 1")
    done(page)


def test_cancel_and_a_closed_page(page, browser, served):
    before = len(served.studio.jobs.jobs)
    few_steps(page, 5000)
    page.get_by_role("button", name="Make", exact=True).click()
    newest(page).get_by_role("button", name="Cancel").wait_for()
    other = browser.new_page()  # of somebody else, who sees it, too
    page.goto("about:blank")  # closed
    other.goto(served.url)
    running = other.locator(".job[data-state=running]:visible").first
    running.wait_for(timeout=WAIT)
    other.get_by_text("s left").first.wait_for(timeout=WAIT)
    running.get_by_role("button", name="Cancel").click()
    other.locator(".job[data-state=cancelled]:visible").first.wait_for(timeout=WAIT)
    other.close()
    assert len(served.studio.jobs.jobs) == before + 1
    page.goto(served.url)


def test_repair_a_part_that_is_dragged(page, music, served):
    open_tab(page, "Repair")
    page.locator("input[type=file]:visible").set_input_files(music / "music" / "low" / "0.wav")
    view = page.locator(".view.regional:visible")
    box = view.bounding_box()
    across, height = box["width"], box["y"] + 20
    page.mouse.move(box["x"] + 0.25 * across, height)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * across, height, steps=5)
    page.mouse.up()
    start, stop = page.get_by_label("From, in seconds"), page.get_by_label("To, in seconds")
    assert abs(float(start.input_value()) - 0.5) < 0.02
    assert abs(float(stop.input_value()) - 1.0) < 0.02
    page.get_by_role("slider", name="End of the part").press("ArrowRight")
    assert abs(float(stop.input_value()) - 1.1) < 0.02
    page.get_by_label("number input for Clips").locator("visible=true").fill("2")
    few_steps(page, 2)
    page.get_by_role("button", name="Make variants").click()
    card = done(page)
    assert [text.strip() for text in card.locator("h3").all_inner_texts()] == [
        "original", "clip 1", "clip 2",
    ]  # fmt: skip
    settings = served.studio.jobs.newest(1)[0].settings
    assert abs(settings["start"] - 0.5) < 0.02 and abs(settings["stop"] - 1.1) < 0.02
    with page.expect_download() as download:
        card.get_by_role("link", name="Download").first.click()
    assert download.value.path().stat().st_size > 10_000


def test_record(page):
    open_tab(page, "Repair")
    page.get_by_role("button", name="Record").locator("visible=true").click()
    page.get_by_text("recording", exact=True).wait_for()
    time.sleep(1)
    page.get_by_role("button", name="Stop").click()
    page.locator(".view.regional:visible").wait_for()


def test_what_is_no_music_gets_a_line(page, tmp_path):
    open_tab(page, "Repair")
    (tmp_path / "bad.wav").write_bytes(b"<script>alert(1)</script>" * 100)
    page.locator("input[type=file]:visible").set_input_files(tmp_path / "bad.wav")
    line = page.locator(".source:visible .state", has_text="bad.wav")
    line.wait_for()
    assert str(tmp_path) not in line.inner_text()


def test_song(page):
    open_tab(page, "Song")
    page.get_by_label("number input for Seconds").locator("visible=true").fill("4")
    page.locator("input[name=steps]:visible").fill("2")
    page.get_by_role("button", name="Make the song").click()
    card = done(page)
    assert plays(page, card.locator("audio").first)


def choose(page, label, option):
    page.locator(f"input[aria-label='{label}']:visible").click()
    # the list of the choice before may still be closing
    page.get_by_role("option", name=option, exact=True).last.click()


def test_a_blind_test_by_keyboard(page, served):
    open_tab(page, "Compare")
    choose(page, "First", "music/low")
    choose(page, "Second", "music/high")
    page.get_by_label("number input for Trials").fill("2")
    page.get_by_role("button", name="Start the test").click()
    for number in (1, 2):
        page.get_by_role("heading", name=f"Trial {number} of 2").wait_for()
        shown = page.locator(".trial").inner_html()
        assert "low" not in shown and "high" not in shown and "studio/files" not in shown
        assert page.locator(".trial audio").count() == 2
        page.get_by_role("button", name="Left is better").press("Enter")
    page.get_by_text("interval of 95 %").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="The votes as CSV").click()
    rows = list(csv.DictReader(download.value.path().open()))
    assert [row["choice"] for row in rows] == ["left", "left"]
    assert all(row["chosen"].rpartition("/")[2] in row["left"] for row in rows)


def test_the_page_of_a_run(page):
    open_tab(page, "Runs")
    frame = page.frame_locator("iframe")
    frame.get_by_role("heading", name="Curves").wait_for()
    assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"


def test_the_report_of_a_folder(page):
    open_tab(page, "Data")
    choose(page, "Folder of music", "music/low")
    page.get_by_role("button", name="Report", exact=True).click()
    page.wait_for_function("document.querySelector('textarea')?.value.includes('2 tracks')")


def test_on_a_phone_nothing_is_wider_than_the_screen_and_all_tabs_are_there(page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    for name in ("Repair", "Song", "Compare", "Runs", "Data", "Make"):
        open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
