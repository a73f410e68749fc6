"""Check SEDD against the golden numbers sedd_ddit and sedd_graph."""

from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace
from typing import cast

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from callbacks.ema import EMA
from sedd.ddit import DDiT
from sedd.graph import Absorb, Graph, Uniform, first_clock
from sedd.noise import Geometric, LogLinear, Noise
from sedd.samplers import analytic_probs, denoise_probs, euler_probs, time_grid
from sedd.weights import load_weights
from tests.goldens.files import through_file
from tests.goldens.format import STATE, Case, Golden

GRAPHS = {"absorb": Absorb, "uniform": Uniform}
Result = Iterator[tuple[str, str, float]]


def _graph(config: dict) -> Graph:
    kind = config["graph"]
    return GRAPHS[kind if isinstance(kind, str) else kind["type"]](config["tokens"])


def _net(config: dict) -> DDiT:
    model = config["model"]
    return DDiT(
        _graph(config).dim,
        hidden_size=model["hidden_size"],
        num_blocks=model["n_blocks"],
        num_heads=model["n_heads"],
        cond_dim=model["cond_dim"],
        dropout=model["dropout"],
        scale_by_sigma=model["scale_by_sigma"],
        attention="sdpa",
    ).eval()


def check_ddit(golden: Golden) -> Result:
    """Compare keys, the noise embedding and the log scores of the score network."""
    for case in golden.cases.values():
        if not case.outputs:
            with torch.device("meta"):
                net = _net(case.config)
            case.check_state(net)
            assert sum(p.numel() for p in net.parameters()) == case.manifest["n_params"]
            yield case.name, STATE, 0.0
            continue
        filled, net = case.fill(_net(case.config)), _net(case.config)
        shadow = [value.detach() for value in filled.parameters() if value.requires_grad]
        content = {"model": net.state_dict(), "ema": {"shadow_params": shadow}, "step": 0}
        through_file(content, partial(load_weights, net))
        x, sigma = case.input("indices"), case.input("sigma")
        with torch.no_grad():
            yield case.name, "sigma_map", case.compare("sigma_map", net.sigma_map(sigma))
            yield case.name, "log_score", case.compare("log_score", net(x[:, None], sigma)[:, 0])


def check_graph(golden: Golden) -> Result:
    """Compare schedules, graphs, sampler tensors, training losses, the time grid and averaging."""
    noises = _noises(golden)
    for case in golden.cases.values():
        if case.name == "noise":
            results = _noise_results(case, noises)
        elif case.name == "time_grid":
            times, step_size = time_grid(case.config["steps"], case.config["eps"])
            results = {"timesteps": times, "dt": torch.tensor(step_size, dtype=torch.float64)}
        elif case.name == "ema":
            results = {"shadow": _averages(case)}
        elif "model" in case.config:
            results = _loss_results(case, noises[case.manifest["noise"]])
        else:
            results = _graph_results(case, noises)
        for name, result in results.items():
            yield case.name, name, case.compare(name, result)


def _noises(golden: Golden) -> dict[str, Noise]:
    config = golden.case("noise").config
    return {
        "loglinear": LogLinear(**config["loglinear"]),
        "geometric": Geometric(**config["geometric"]),
    }


def _noise_results(case: Case, noises: dict[str, Noise]) -> dict[str, Tensor]:
    t = case.input("t")
    totals = {f"{name}_total": noise.sigma(t) for name, noise in noises.items()}
    return totals | {f"{name}_rate": noise.rate(t) for name, noise in noises.items()}


def _graph_results(case: Case, noises: dict[str, Noise]) -> dict[str, Tensor]:
    graph = _graph(case.config)
    x, x0, log_score = case.input("x"), case.input("x0"), case.input("log_score")
    sigma, dsigma = case.input("sigma")[:, 0], case.input("dsigma")[:, 0]
    score = log_score.exp()
    results = {
        "score_entropy": graph.score_entropy(log_score, sigma, x, x0),
        "staggered_score": graph.staggered_score(score, dsigma),
        "transp_transition": graph.transp_transition(x, sigma),
        "transp_rate": graph.transp_rate(x),
        "rate": graph.rate(x),
        "reverse_rate": graph.reverse_rate(x, score),
    }
    t, step_size = case.input("t")[:, 0], float(case.input("step_size"))
    for name, noise in noises.items():
        total, last = noise.sigma(t), noise.sigma(t * 1e-3)
        analytic = analytic_probs(graph, x, log_score, total - noise.sigma(t - step_size))
        euler = euler_probs(graph, x, log_score, (noise.rate(t) * step_size)[:, None, None])
        here = torch.nn.functional.one_hot(x, graph.dim)
        results[f"analytic_probs_{name}"] = analytic
        results[f"euler_probs_{name}"] = euler
        results[f"euler_rate_{name}"] = euler - here
        results[f"denoiser_probs_{name}"] = denoise_probs(graph, x, log_score, last)
    probs, clocks = results["analytic_probs_loglinear"], -case.input("u_cat").double().log()
    results["sample_categorical"] = first_clock(probs, clocks)
    limit = case.input("r_move") if "r_move" in case.inputs else graph.sample_limit(x0.shape)
    results["sample_transition"] = graph.move(x0, sigma, case.input("u_move"), limit)
    return results


def _loss_results(case: Case, noise: Noise) -> dict[str, Tensor]:
    graph, net = _graph(case.config), case.fill(_net(case.config))
    x0, x, t = case.input("batch"), case.input("perturbed_batch"), case.input("t")
    sigma = noise.sigma(t)
    entropy = graph.score_entropy(net(x[:, None], sigma)[:, 0], sigma, x, x0)
    per_item = (noise.rate(t)[:, None] * entropy).sum(-1)
    per_item.mean().backward()
    results = {"loss_per_item": per_item, "loss": per_item.mean()}
    weights = dict(net.named_parameters())
    wanted = [name for name in case.outputs if name.startswith("grad/")]
    gradients = {name: weights[name.removeprefix("grad/")].grad for name in wanted}
    return results | {name: grad for name, grad in gradients.items() if grad is not None}


def _averages(case: Case) -> Tensor:
    """Average the values ema/p1, ema/p2, ... from ema/p0 on, one row [D] an update."""
    updates, size = case.outputs["shadow"]["shape"]
    ema, rows = EMA(case.config["decay"]), []
    ema.average, ema.updates = {"weight": case.normal("p0", [size])}, 1
    for n in range(1, updates + 1):
        weights = [("weight", case.normal(f"p{n}", [size]))]
        module = SimpleNamespace(named_parameters=lambda weights=weights: weights)
        trainer = SimpleNamespace(global_step=n)
        ema.on_train_batch_end(cast(Trainer, trainer), cast(LightningModule, module))
        rows.append(ema.average["weight"].clone())
    return torch.stack(rows)
