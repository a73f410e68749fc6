"""Hooks of MkDocs: the command reference, and pages of the repository that lie outside docs/."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# what pages link to outside docs/, and where it stands in the site
PAGES = {
    "codec/EMBEDDED.md": "cards/vqvae.md",
    "codec/SPECTRAL.md": "cards/spectral.md",
    "jbdiff/base/README.md": "cards/base.md",
    "sedd/base/README.md": "cards/base_sedd.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
FILES = {
    "examples/mylab/mylab.py": "files/mylab.py",
    "examples/mylab": "files/mylab.py",
    ".github/base.png": "files/base.png",
    ".github/base.ogg": "files/base.ogg",
}
HEAD = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)  # a model card's fields for a hub


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for source, place in PAGES.items():
        text = HEAD.sub("", (ROOT / source).read_text())
        files.append(File.generated(config, place, content=text))
    for source, place in FILES.items():
        if (ROOT / source).is_file():
            files.append(File.generated(config, place, content=(ROOT / source).read_bytes()))
    files.append(File.generated(config, "commands.md", content=command_reference()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave docs/ to where these files stand in the site."""
    up = "../" * page.file.src_uri.count("/")
    for source, place in {**PAGES, **FILES}.items():
        markdown = re.sub(rf"\]\(\.\./{re.escape(source)}(?=[)#])", f"]({up}{place}", markdown)
    return markdown


def command_reference() -> str:
    """Ask the program for the help of every command."""
    sys.path.insert(0, str(ROOT))
    from music_diffusion.commands.main import COMMANDS

    text = ["# Commands\n", "As the program itself says it.\n"]
    with ThreadPoolExecutor(max_workers=2) as pool:
        for command, words in zip(("", *COMMANDS), pool.map(help_of, ("", *COMMANDS)), strict=True):
            title = f"## {command}\n" if command else ""
            text += [title, f"```text\n{words.rstrip()}\n```\n"]
    return "\n".join(text)


def help_of(command: str) -> str:
    call = [sys.executable, "cli.py", *([command] if command else []), "--help"]
    environment = {**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(call)} ended with {done.returncode}: {done.stderr}")
    return done.stdout
