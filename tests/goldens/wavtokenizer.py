"""Check WavTokenizer against the golden `wavtokenizer`."""

from collections.abc import Iterator

import torch
from torch import Tensor

from audio.resample import resample_sinc
from codec.wavtokenizer import Network, WavTokenizer
from tests.goldens.files import through_file
from tests.goldens.format import STATE, Case, Golden

Rows = Iterator[tuple[str, str, float]]
SURE = 2e-3  # a smaller margin between two codes may flip


def weights(case: Case) -> dict[str, Tensor]:
    """Fill the published state list; only the window's values are known to the constructor."""
    state = case.fill_state()
    window = next(shape for key, shape, _ in case.state if key == "head.istft.window")
    return state | {"head.istft.window": torch.hann_window(*window)}


def check(golden: Golden) -> Rows:
    for case in golden.cases.values():
        with torch.no_grad():
            yield from check_network(case) if "codes" in case.outputs else check_mix(case)


def check_network(case: Case) -> Rows:
    state = weights(case)
    bandwidth_id = case.manifest.get("bandwidth_id", 0)
    net: Network = through_file(
        {"state_dict": state}, lambda path: WavTokenizer(path, bandwidth_id=bandwidth_id)
    ).net
    yield case.name, STATE, 0.0 if state.keys() == {key for key, *_ in case.state} else 1e9
    encoded = net.encoder(case.input("x")[:, None])
    yield case.name, "encoder", case.compare("encoder", encoded)
    distances = net.codebook.distances(encoded)
    best = distances.topk(2, dim=-1, largest=False)
    margins = best.values[..., 1] - best.values[..., 0]
    codes = best.indices[..., 0]
    yield case.name, "codes_margin", case.compare("codes_margin", margins)
    yield case.name, "codes", case.compare("codes", codes[None], (margins > SURE)[None])
    features = net.codebook.look_up(codes)
    yield case.name, "features", case.compare("features", features)
    given = net.codebook.look_up(case.input("codes_in")[0])
    yield case.name, "codes_to_features", case.compare("codes_to_features", given)
    hidden = net.backbone(given)
    yield case.name, "backbone", case.compare("backbone", hidden)
    yield case.name, "decode", case.compare("decode", net.head(hidden)[:, 0])
    copied = net.head(net.backbone(features))[:, 0]
    yield case.name, "copy_synthesis", case.compare("copy_synthesis", copied)


def check_mix(case: Case) -> Rows:
    """Compare audio brought to the codec's rate and to mono."""
    audio = case.input("x").mean(0, keepdim=True)
    made = resample_sinc(audio, case.config["sr"], case.config["target_sr"])
    yield case.name, "y", case.compare("y", made)
