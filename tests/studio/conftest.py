"""A studio that runs, and a browser, where gradio, playwright and Chromium are installed."""

import json
import os
import shutil
import socket
import threading
import time

import pytest
import torch

WAIT = 600_000  # milliseconds; only a test that hangs waits for so long


def write_config(folder, jb_level):
    """Write the settings of an exported level that knows a label; it has no weights."""
    folder.mkdir()
    settings = {"_class_path": "jbdiff.module.JBDiff", "jb_level": jb_level}
    conditions = {"labels": ["genre=jazz"], "tags": {"piano": 1.0}, "tempo": True, "key": True}
    content = {"hyper_parameters": settings, "conditions": conditions}
    (folder / "config.json").write_text(json.dumps(content))


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of the system's Chromium."""
    for package in ("gradio", "playwright"):
        pytest.importorskip(package, reason=f"{package} isn't installed: make studio")
    path = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if path is None:
        pytest.skip("there is no Chromium: apt-get install chromium, or CHROMIUM=/path/to/it")
    return path


class Served:
    """A studio at an address, in a thread of this process."""

    def __init__(self, folder, users=None, megabytes=2.0):
        import uvicorn

        from music_diffusion.studio.guard import Guard
        from music_diffusion.studio.page import mount
        from music_diffusion.studio.server import server
        from music_diffusion.studio.studio import Studio

        self.studio = Studio.of(
            folder / "own", [folder / "music"], [torch.device("cpu")], megabytes, 60.0
        )
        listening = socket.socket()
        listening.bind(("127.0.0.1", 0))  # kept, so that nobody else takes the port
        app = Guard(mount(server(self.studio), self.studio), users or {}, int(megabytes * 2**20))
        self.server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [listening]}, daemon=True
        )
        self.thread.start()
        while not self.server.started:
            assert self.thread.is_alive()
            time.sleep(0.05)

    def cancel_all(self):
        """Stop what a test left behind, so that the next one's jobs don't wait for it."""
        for job in self.studio.jobs.newest(100):
            if not job.is_over:
                self.studio.jobs.cancel(job.name)

    def stop(self):
        self.server.should_exit = True
        self.thread.join(10)


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    """Return a folder with the folder `music`: two folders of clips and a run."""
    from audio.files import write
    from audio.page.write import write_page

    folder = tmp_path_factory.mktemp("studio")
    for name, pitch in (("low", 220.0), ("high", 440.0)):
        (folder / "music" / name).mkdir(parents=True)
        for i in range(2):
            times = torch.arange(2 * 8000) / 8000
            sound = 0.3 * torch.sin(2 * torch.pi * pitch * (i + 1) * times)[None]
            write(folder / "music" / name / f"{i}.wav", sound, 8000)
    run = folder / "music" / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "curves.csv").write_text("step,val/loss\n1,2.0\n2,1.5\n3,1.2\n")
    (run / "demos" / "step_1").mkdir(parents=True)
    for name in ("real", "sample"):
        shutil.copy(folder / "music" / "low" / "0.wav", run / "demos" / "step_1" / f"{name}_0.wav")
    write_page(run)
    return folder


@pytest.fixture(scope="session")
def served(chromium, music):
    running = Served(music)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        launched = play.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--use-fake-device-for-media-stream"]
            + ["--use-fake-ui-for-media-stream"],
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser, served):
    """Return a page of the studio that fails the test if it asks another address for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(WAIT)
    opened = context.new_page()
    asked, errors = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto(served.url)
    opened.get_by_role("button", name="Make", exact=True).wait_for()
    opened.locator(".jobs[data-known]:visible").wait_for()  # its script has run
    yield opened
    context.close()
    served.cancel_all()
    others = [url for url in asked if not url.startswith((served.url, "data:", "blob:"))]
    assert not others
    assert not errors
