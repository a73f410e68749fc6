"""Songs' settings of before samplers were classes."""

import logging

from jbdiff.samplers import DPM
from jbdiff.song_migration import converted, sampler_settings


def test_old_steps_and_samplers_become_objects_with_one_line(caplog):
    caplog.set_level(logging.INFO)
    old = {
        "seconds": 3.0,
        "level_2": {"checkpoint": "a", "steps": 25, "sampler": "dpm", "guidance": 4.0},
        "level_1": {"steps": 7},
        "level_0": {"sampler": "ddim"},
        "dance": {"sampler": "iplms", "steps": 9},
    }
    made = converted(old)
    assert made["level_2"] == {
        "checkpoint": "a",
        "guidance": 4.0,
        "sampler": {
            "class_path": "jbdiff.samplers.DPM",
            "init_args": {"steps": 25, "noise_scale": 1.0},
        },
    }
    assert made["level_1"]["sampler"]["init_args"]["steps"] == 7
    assert made["level_0"]["sampler"]["init_args"]["steps"] == 20
    assert made["dance"]["sampler"]["class_path"] == "jbdiff.samplers.IPLMS"
    assert len(caplog.messages) == 1 and "level_2, level_1, level_0, dance" in caplog.text


def test_new_settings_stay_as_they_are(caplog):
    caplog.set_level(logging.INFO)
    new = {"level_2": {"sampler": sampler_settings(DPM(3))}, "level_1": {"sampler": "DPM"}}
    new |= {"dance": {"checkpoint": None}, "levels": "21"}
    assert converted(new) == new and not caplog.messages
