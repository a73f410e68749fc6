"""`data`: what a folder holds, and the command for this machine."""

import json
import sys
import time
from pathlib import Path

import pytest
import torch

from audio import files as audio_files
from music_diffusion.commands import data as command
from music_diffusion.commands import machine as machines
from music_diffusion.commands import main as cli
from music_diffusion.commands import report_lines
from music_diffusion.commands.arguments import find_config
from music_diffusion.commands.machine import Machine, this_machine
from music_diffusion.commands.plans import LEVEL_3, PLANS, SEDD, choose
from music_diffusion.commands.yaml_file import read_yaml

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_the_report_ends_with_a_command_that_trains(music, capsys):
    assert cli.main(["data", str(music), "--json", "report.json"]) == 0
    printed = capsys.readouterr().out
    assert "3 tracks" in printed and "44100 Hz" in printed and "LUFS" in printed
    command = printed.splitlines()[-1]
    assert "--config level3_small --model.init_from base --model.learning_rate 3e-4 " in command
    assert command.endswith(" --trainer.max_time 00:00:30:00")
    report = json.loads(Path("report.json").read_text())
    assert report["tracks"] == 3 and report["split"] == {"train": 2, "validation": 1}
    assert report["plans"]["sedd_absorb + tiny"]["windows"] == 2


def test_a_laptop_gets_a_laptops_config():
    laptop = Machine("", 4, 16 * 10**9, 100.0)
    assert choose(laptop) is LEVEL_3 and LEVEL_3.step_seconds(laptop) < 2
    assert SEDD.step_seconds(laptop) > 300
    card = Machine("H", 16, 80 * 10**9, 500_000.0)
    assert choose(card) is SEDD
    assert "--config small_data" in SEDD.command("music", 3.0)
    assert "small_data" not in SEDD.command("music", 30.0)


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_plan_is_what_its_configs_say(plan):
    found: dict[str, object] = {}
    for name in plan.configs:
        content = read_yaml(find_config(name))
        found |= content["data"]["init_args"] | content["trainer"]
    settings = (found["batch_size"], found["accumulate_grad_batches"], found["max_steps"])
    assert settings == (plan.batch, plan.accumulate, plan.steps)


def test_windows_are_counted_as_training_counts_them():
    seconds = [LEVEL_3.window * 2.5, 1.0]
    assert LEVEL_3.windows(seconds) == 4


@pytest.mark.parametrize("answer", ["", "n", "y"])
def test_a_home_folder_is_asked_about(answer, monkeypatch, capsys, elsewhere):
    audio_files.write(elsewhere / "a.wav", torch.rand(1, 9000) - 0.5, 8000)
    monkeypatch.setenv("HOME", str(elsewhere))
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    monkeypatch.setattr("builtins.input", lambda question: answer)
    assert cli.main(["data", "~"]) == (0 if answer == "y" else 2)
    assert ("name the folder" in capsys.readouterr().err) == (answer != "y")


def test_without_a_terminal_home_and_many_files_are_told(monkeypatch, capsys, elsewhere):
    audio_files.write(elsewhere / "a.wav", torch.rand(1, 9000) - 0.5, 8000)
    monkeypatch.setenv("HOME", str(elsewhere / "of" / "me"))
    monkeypatch.setattr(command, "MANY", 0)
    assert cli.main(["data", "."]) == 0
    error = capsys.readouterr().err
    assert "more than a folder of music" in error and "holds 1 files" in error


def test_no_music_at_all_is_a_line(capsys, elsewhere):
    (elsewhere / "a.wav").write_text("text")
    assert cli.main(["data", "a.wav"]) == 2
    assert "none of the 1 files in a.wav can be read, such as: " in capsys.readouterr().err


def test_this_machine_is_measured():
    machine = this_machine()
    assert machine.cores >= 1 and machine.memory > 10**8 and machine.gflops > 0.1


def test_a_silent_track_is_named(music, capsys):
    audio_files.write(music / "0.wav", torch.zeros(1, 8000), 8000)
    (line,) = [
        text for name, text in report_lines.rows(command.data(str(music))) if name == "silence"
    ]
    assert line.endswith("1 track, mostly silent: 0.wav")


def test_a_busy_moment_makes_no_machine_slower(monkeypatch):
    def waits(self, other):
        time.sleep(0.05)  # as while another program has the processor
        return torch.mm(self, other)

    alone = machines.speed(torch.device("cpu"))
    monkeypatch.setattr(torch.Tensor, "__matmul__", waits)
    assert machines.speed(torch.device("cpu")) > alone / 4
