"""Settings under the names of earlier versions."""

from music_diffusion.checkpoints.legacy import upgrade_settings

NET = {"class_path": "sedd.ddit.DDiT", "init_args": {"conv": 3}}


def old(**options) -> dict:
    return {"class_path": "sedd.ddit.DDiT", "init_args": {"conv": 3, **options}}


def upgraded(net: dict) -> dict:
    settings = {"_class_path": "sedd.module.SEDD", "net": net, "objective": "theirs", "length": 8}
    return upgrade_settings(settings)


def test_a_normalised_network_is_one_of_the_objective_subs():
    made = upgraded(old(normalise=True))
    assert made["net"] == NET and made["objective"] == {"class_path": "sedd.objective.Subs"}
    for net in (old(normalise=False), old()):
        assert upgraded(net)["net"] == NET and upgraded(net)["objective"] == "theirs"


def test_another_networks_option_of_that_name_stays():
    net = {"class_path": "mylab.Net", "init_args": {"normalise": True}}
    assert upgraded(net)["net"] == net and upgraded(net)["objective"] == "theirs"
