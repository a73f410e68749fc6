"""The studio in Chromium: make, cancel, repair by dragging, song, votes; skipped without it."""

import csv
import logging
import shutil
import threading

from tests.studio.conftest import WAIT, write_config


def open_tab(page, name):
    page.get_by_role("tab", name=name, exact=True).click()


def few_steps(page, steps):
    """Open the sampler of the tab that is shown, and set its steps."""
    page.locator("button:visible", has_text="Sampler").click()
    page.locator("input[name=steps]:visible").fill(str(steps))


def start(page, button):
    """Press a button that starts a job; return the job's card once it is there."""
    jobs = page.locator(".jobs[data-known]:visible")
    before = jobs.get_attribute("data-known")
    button.click()
    page.locator(f".jobs[data-known='{int(before) + 1}']:visible").wait_for()
    name = jobs.locator(".job").first.get_attribute("data-job")
    return page.locator(f".job[data-job='{name}']:visible")


def done(card):
    """Wait until a job is done; return its card."""
    card.and_(card.page.locator("[data-state=done]")).wait_for()
    return card


def near(field, value):
    """Wait until a field of a number holds one near a value."""
    field.page.wait_for_function(
        "([field, value]) => Math.abs(Number(field.value) - value) < 0.02",
        arg=[field.element_handle(), value],
    )


def plays(audio):
    """Wait until a player gets its sound and goes on."""
    audio.evaluate(
        """async (audio) => { audio.muted = true;
        const goes = new Promise((go) => audio.addEventListener("timeupdate",
            () => { if (audio.currentTime > 0) go(); }));
        await audio.play(); await goes; audio.pause(); }"""
    )


def test_make_then_vary_and_start_from_a_clip(page):
    page.get_by_label("number input for Seconds").first.fill("2")
    few_steps(page, 2)
    card = done(start(page, page.get_by_role("button", name="Make", exact=True)))
    assert card.locator("audio").count() == 1
    assert ":" in card.locator("header span").inner_text()  # the time by which it is told apart
    plays(card.locator("audio").first)
    assert "2 s" in card.locator("h2").inner_text()
    card.get_by_role("button", name="Use as init").click()
    page.locator(".source:visible .view").wait_for()
    done(start(page, card.get_by_role("button", name="Again")))


def test_cancel_and_a_closed_page(page, browser, served):
    before = len(served.studio.jobs.jobs)
    few_steps(page, 5000)
    card = start(page, page.get_by_role("button", name="Make", exact=True))
    name = card.get_attribute("data-job")
    page.goto("about:blank")  # closed
    other = browser.new_page()  # of somebody else, who sees it, too
    other.set_default_timeout(WAIT)
    other.goto(served.url)
    running = other.locator(f".job[data-job='{name}'][data-state=running]:visible")
    running.get_by_text("s left").wait_for()
    running.get_by_role("button", name="Cancel").click()
    other.locator(f".job[data-job='{name}'][data-state=cancelled]:visible").wait_for()
    other.close()
    assert len(served.studio.jobs.jobs) == before + 1


def test_a_job_whose_steps_are_done_is_finishing_until_its_files_are_there(page, served):
    written = threading.Event()

    def work(folder, device, on_step):
        on_step(3, 3)
        written.wait()
        return []

    name = served.studio.jobs.submit("make", {"model": "base"}, work).name
    card = page.locator(f".job[data-job='{name}']:visible")
    try:
        card.get_by_text("finishing: the sound is decoded and written").wait_for()
        assert card.locator("progress").get_attribute("value") is None  # it moves, without an end
        assert card.get_by_role("button", name="Ends in a moment").is_disabled()
    finally:
        written.set()
    done(card)


def test_repair_a_part_that_is_dragged(page, music, served):
    open_tab(page, "Repair")
    page.locator("input[type=file]:visible").set_input_files(music / "music" / "low" / "0.wav")
    view = page.locator(".view.regional:visible")
    view.wait_for()
    assert not page.locator(".chosen:visible, .handle:visible").count()  # nothing is at first
    page.get_by_role("button", name="Make variants").click()
    page.get_by_text("no part is chosen: drag").wait_for()
    across = view.bounding_box()["width"]
    view.hover(position={"x": 0.25 * across, "y": 20})  # these wait until it doesn't move
    page.mouse.down()
    view.hover(position={"x": 0.4 * across, "y": 20}, force=True)
    view.hover(position={"x": 0.5 * across, "y": 20}, force=True)
    page.mouse.up()
    start_of, end = page.get_by_label("From, in seconds"), page.get_by_label("To, in seconds")
    near(start_of, 0.5)
    near(end, 1.0)
    page.get_by_role("slider", name="End of the part").press("ArrowRight")
    near(end, 1.1)
    page.get_by_label("number input for Variants").locator("visible=true").fill("2")
    few_steps(page, 2)
    card = done(start(page, page.get_by_role("button", name="Make variants")))
    assert [text.strip() for text in card.locator("h3").all_inner_texts()] == [
        "original", "variant 1", "variant 2",
    ]  # fmt: skip
    card.locator(".part").first.wait_for()
    assert card.locator(".made").count() == 2
    settings = served.studio.jobs.newest(1)[0].settings
    assert abs(settings["start"] - 0.5) < 0.02 and abs(settings["stop"] - 1.1) < 0.02
    with page.expect_download() as download:
        card.get_by_role("link", name="Download").first.click()
    assert download.value.path().stat().st_size > 10_000


def test_a_part_outside_the_file_stays_as_it_is_typed_and_is_refused(page, music, served):
    before = len(served.studio.jobs.jobs)
    open_tab(page, "Repair")
    page.locator("input[type=file]:visible").set_input_files(music / "music" / "low" / "0.wav")
    start_of, end = page.get_by_label("From, in seconds"), page.get_by_label("To, in seconds")
    for first, last in (("12", "15"), ("-3", "1"), ("1.5", "0.5")):
        start_of.fill(first)
        end.fill(last)
        page.locator(".region .wrong").get_by_text(
            f"a part needs 0 <= start < end <= 2.00 s, the file's length, got {first} and {last}"
        ).wait_for()
        assert (start_of.input_value(), end.input_value()) == (first, last)
        assert not page.locator(".chosen:visible").count()
    page.get_by_role("button", name="Make variants").click()
    page.locator(".toast-body").get_by_text("a part needs").wait_for()
    assert len(served.studio.jobs.jobs) == before


def test_seconds_beyond_a_slider_are_told(page):
    field = page.get_by_label("number input for Seconds").first
    field.fill("9999")
    field.press("Tab")
    page.get_by_text("60 is the most that is possible here, not 9999").wait_for()
    field.fill("5")
    field.press("Tab")
    page.locator(".beyond").wait_for(state="detached")


def test_continue_opens_repair_to_continue_and_says_what_the_job_notes(page, music, served):
    def work(folder, device, on_step):
        shutil.copy(music / "music" / "low" / "0.wav", folder)
        logging.getLogger("audio.fit_in").warning("the codec is mono")
        return [folder / "0.wav"]

    name = served.studio.jobs.submit("make", {"model": "base"}, work).name
    card = done(page.locator(f".job[data-job='{name}']:visible"))
    card.locator(".note", has_text="the codec is mono").wait_for()
    card.get_by_role("button", name="Continue").click()
    page.locator(".view.regional:visible").wait_for()
    page.get_by_role("radio", name="Continue after its end", checked=True).wait_for()
    page.get_by_label("number input for Seconds to add").wait_for()
    page.locator(".region").wait_for(state="hidden")
    page.get_by_role("radio", name="Repair the chosen part").check()
    page.get_by_label("From, in seconds").wait_for()


def test_record(page):
    open_tab(page, "Repair")
    page.get_by_role("button", name="Record").locator("visible=true").click()
    page.get_by_text("recording, 1 s").wait_for()  # so much sound has come
    page.get_by_role("button", name="Stop").click()
    page.locator(".view.regional:visible").wait_for()


def test_what_is_no_music_gets_a_line(page, music, tmp_path):
    open_tab(page, "Repair")
    page.locator("input[type=file]:visible").set_input_files(music / "music" / "low" / "0.wav")
    page.locator(".view.regional:visible").wait_for()
    (tmp_path / "bad.wav").write_bytes(b"<script>alert(1)</script>" * 100)
    page.locator("input[type=file]:visible").set_input_files(tmp_path / "bad.wav")
    line = page.locator(".source:visible .state.wrong", has_text="bad.wav")
    line.wait_for()
    assert not page.locator(".view.regional:visible").count()  # the file before is gone
    assert str(tmp_path) not in line.inner_text()


def test_song(page):
    open_tab(page, "Song")
    page.get_by_label("number input for Seconds").locator("visible=true").fill("4")
    page.locator("input[name=steps]:visible").fill("2")
    card = done(start(page, page.get_by_role("button", name="Make the song")))
    plays(card.locator("audio").first)


def test_models_that_appear_are_in_the_lists_and_sections_say_what_they_know(page, served, music):
    few_steps(page, 3)
    open_tab(page, "Song")
    page.locator("button:visible", has_text="Sections").click()
    page.get_by_text("None of the chosen models can be told").wait_for()
    write_config(music / "music" / "told", jb_level=3)
    listed = page.locator("input[aria-label='Model of Level 3, the coarsest']")
    look_for(page, listed, "music/told")
    for start_of, label in (("0", "genre=jazz"), ("3", "")):
        page.get_by_role("button", name="Add a section").click()
        section = page.get_by_role("group", name="Section").last
        section.get_by_label("From, in seconds").fill(start_of)
        section.get_by_label("Tempo").press_sequentially("90")
        section.get_by_label("Label").select_option(label)
    page.get_by_role("button", name="Make the song").click()
    page.locator(".job:visible[data-state=failed]").first.wait_for()  # it has no weights
    sections = served.studio.jobs.newest(1)[0].settings["sections"]
    assert sections == [{"from": 0, "tempo": 90, "label": "genre=jazz"}, {"from": 3, "tempo": 90}]
    for tab in ("Make", "Repair"):
        open_tab(page, tab)
        look_for(page, page.locator("input[aria-label='Model']:visible"), "music/told")
        page.get_by_label("Tempo in beats a minute").locator("visible=true").wait_for()


def look_for(page, listed, name):
    """Choose a name in a list, which is looked for again until it has it."""
    option = page.get_by_role("option", name=name, exact=True)
    listed.click()
    option.wait_for()
    option.click()
    option.wait_for(state="detached")


def choose(page, label, option):
    look_for(page, page.locator(f"input[aria-label='{label}']:visible"), option)


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
        better = page.get_by_role("button", name="Left is better")
        for side, audio in (("Left and Right", "Left"), ("Right", "Right")):
            assert better.is_disabled()
            page.get_by_text(f"Play {side} to vote.").wait_for()
            plays(page.get_by_label(audio, exact=True))
        better.press("Enter")
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
    plays(frame.locator("audio").first)
    frame.locator("img").first.evaluate("(image) => image.decode()")
    assert page.locator("iframe").get_attribute("sandbox") == "allow-scripts"


def test_the_report_of_a_folder_or_why_there_is_none(page, music):
    (music / "music" / "bad").mkdir()
    (music / "music" / "bad" / "0.wav").write_bytes(b"no sound")
    page.reload()
    open_tab(page, "Data")
    choose(page, "Folder of music", "music/low")
    page.get_by_role("button", name="Report", exact=True).click()
    report = page.get_by_label("Report").locator("visible=true").and_(page.locator("textarea"))
    says(report, "2 tracks")
    assert report.evaluate("(area) => area.scrollWidth <= area.clientWidth")  # lines are wrapped
    choose(page, "Folder of music", "music/bad")
    page.wait_for_function("(area) => area.value === ''", arg=report.element_handle())
    page.get_by_role("button", name="Report", exact=True).click()
    says(report, "No report: none of the 1 files in music/bad can be read")


def says(area, text):
    """Wait until a field of text holds a text."""
    area.page.wait_for_function(
        "([area, text]) => area.value.includes(text)", arg=[area.element_handle(), text]
    )


def test_on_a_phone_nothing_is_wider_than_the_screen_and_all_tabs_are_there(page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.reload()
    for name in ("Repair", "Song", "Compare", "Runs", "Data", "Make"):
        open_tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
