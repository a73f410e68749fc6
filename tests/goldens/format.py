"""Read golden numbers: a manifest NAME.json, arrays NAME.npz, weights by rule."""

import ast
import json
import math
import operator
import re
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

STATE = "state"  # how a state list is named among the things to check


def load(folder: str | Path, name: str) -> "Golden":
    """Load the golden numbers called name from a folder."""
    return Golden(Path(folder), name)


class Golden:
    """The cases of one golden file, and a record of which outputs were compared."""

    def __init__(self, folder: Path, name: str):
        manifest = json.loads((folder / f"{name}.json").read_text())
        if manifest["format"] != 1:
            raise ValueError(
                f"{name}: this reader knows format 1, the file has {manifest['format']}"
            )
        with np.load(folder / f"{name}.npz") as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files}
        self.name = name
        self.seed = int(manifest["seed"])
        listed = manifest["cases"]
        items = listed.items() if isinstance(listed, dict) else [(c["name"], c) for c in listed]
        self.cases = {key: Case(self, key, case) for key, case in items}

    def case(self, name: str) -> "Case":
        if name not in self.cases:
            raise ValueError(f"{self.name}: no case {name!r}; there are {', '.join(self.cases)}")
        return self.cases[name]

    def generator(self, key: str) -> np.random.Generator:
        """Give the random stream of one key."""
        return np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) + self.seed))

    def value(self, key: str, shape: list[int]) -> np.ndarray:
        """Make the weight of a key: scaled by fan-in; around 1 for norms and running variances."""
        count = math.prod(shape)
        w = self.generator(key).standard_normal(count).astype(np.float32).reshape(shape)
        if key.endswith("running_var"):
            return np.float32(1) + np.float32(0.1) * np.abs(w)
        if key.endswith("running_mean"):
            return np.float32(0.1) * w
        if len(shape) >= 2:
            return w * np.float32(1.0 / math.sqrt(math.prod(shape[1:])))
        if len(shape) == 1 and key.endswith("weight"):
            return np.float32(1) + np.float32(0.1) * w
        return np.float32(0.1) * w

    def unchecked(self) -> list[tuple[str, str]]:
        """List (case, output) of everything that no check has looked at."""
        return [(c.name, what) for c in self.cases.values() for what in c.unchecked()]


class Case:
    """One configuration with its inputs and outputs; what it lacks comes from the case it names."""

    def __init__(self, golden: Golden, name: str, manifest: dict):
        self.golden = golden
        self.name = name
        self.manifest = manifest
        self.inputs: dict[str, dict] = manifest.get("inputs", {})
        self.outputs: dict[str, dict] = manifest.get("outputs", {})
        self.compared: set[str] = set()

    # Which case another one stands on

    @property
    def base(self) -> "Case | None":
        """The case that this one refers to in words ("as in tiny"), if it does."""
        for field in ("config", "weights", "state"):
            text = self.manifest.get(field)
            words = re.findall(r"[\w.]+", text) if isinstance(text, str) else []
            for word in words:
                if word in self.golden.cases and word != self.name:
                    return self.golden.cases[word]
        return None

    def _find(self, field: str, kind: type) -> "Case":
        """Find the case that holds a field, this one or the one it refers to."""
        case: Case | None = self
        while case is not None and not isinstance(case.manifest.get(field), kind):
            case = case.base
        if case is None:
            raise ValueError(f"{self.golden.name}/{self.name}: no {field}, here or by reference")
        return case

    @property
    def config(self) -> dict:
        return self._find("config", dict).manifest["config"]

    @property
    def state(self) -> list[tuple[str, list[int], str]]:
        return [tuple(entry) for entry in self._find("state", list).manifest["state"]]

    # Inputs

    def input(self, name: str) -> Tensor:
        """Give an input, stored or made again by its rule and checked against its sums."""
        if name not in self.inputs:
            if self.base is None:
                raise ValueError(f"{self.golden.name}/{self.name}: no input {name!r}")
            return self.base.input(name)
        spec = self.inputs[name]
        stored = self.golden.arrays.get(f"{self.name}/in/{name}")
        if stored is None and spec.get("stored"):
            raise ValueError(
                f"{self.golden.name}/{self.name}: the array of input {name!r} is missing"
            )
        array = self.remake(name) if stored is None else stored
        if list(array.shape) != list(spec.get("shape", array.shape)):
            raise ValueError(
                f"{self.golden.name}/{self.name}: input {name!r} should have shape "
                f"{spec['shape']}, got {list(array.shape)}"
            )
        self._check_sums(name, array)
        return torch.from_numpy(np.array(array))

    def remake(self, name: str) -> np.ndarray:
        """Make an input by its rule, whether it is stored or not."""
        spec = self.inputs[name]
        other = spec["how"].removeprefix(f"{self.name}/")
        if "/" in other:
            case, _, key = other.partition("/")
            if case in self.golden.cases and key in self.golden.cases[case].inputs:
                return self.golden.cases[case].input(key).numpy()
        return _Rule(self, name).make().astype(spec["dtype"])

    def normal(self, name: str, shape: list[int]) -> Tensor:
        """Draw the gaussian input that a rule names without listing it."""
        draw = self.golden.generator(f"input:{self.name}/{name}").standard_normal(math.prod(shape))
        return torch.from_numpy(draw.astype(np.float32).reshape(shape))

    def _check_sums(self, name: str, array: np.ndarray) -> None:
        spec = self.inputs[name]
        if "sum" not in spec:
            return
        flat = array.astype(np.float64).reshape(-1)
        first, total, square = flat[: len(spec["first"])], flat.sum(), np.square(flat).sum()
        slack = 1e-5 * math.sqrt(flat.size * max(spec["sumsq"], 1e-30))
        if not (
            np.allclose(first, spec["first"], rtol=1e-5, atol=1e-6)
            and abs(total - spec["sum"]) <= slack
            and abs(square - spec["sumsq"]) <= 1e-5 * abs(spec["sumsq"])
        ):
            raise ValueError(
                f"{self.golden.name}/{self.name}: input {name!r} made by {spec['how']!r} has sum "
                f"{total:.6g} and sum of squares {square:.6g}, the manifest says "
                f"{spec['sum']:.6g} and {spec['sumsq']:.6g}"
            )

    # Weights

    def fill_state(self, state: list | None = None) -> dict[str, Tensor]:
        """Make the weights of a state list (the case's own by default).

        Keys whose value only the module's constructor knows are left out.
        """
        home = self._find("state", list)
        manifest = home.manifest
        not_filled, shared = manifest.get("not_filled", {}), manifest.get("shared", {})
        filled: dict[str, Tensor] = {}
        for key, shape, dtype in home.state if state is None else state:
            source = shared.get(key, key)
            constant = re.match(r"set to (\S+)", not_filled.get(source, ""))
            if constant:
                filled[key] = torch.full(shape, float(constant[1]), dtype=getattr(torch, dtype))
            elif source not in not_filled and getattr(torch, dtype).is_floating_point:
                value = self.golden.value(source, shape)
                for rule in manifest.get("rule_offsets", []):
                    if source.endswith(rule["key_suffix"]):
                        value = value + np.float32(rule["add_after_rule"])
                filled[key] = torch.from_numpy(np.asarray(value)).to(getattr(torch, dtype))
        if state is None:
            for key, expected in manifest.get("fill_check", {}).items():
                got = filled[key].reshape(-1)[: len(expected)].double()
                if not np.allclose(got, expected, rtol=1e-6, atol=1e-7):
                    raise ValueError(
                        f"{self.golden.name}/{home.name}: {key} starts with {got.tolist()}, "
                        f"the manifest says {expected}"
                    )
            home.compared.add(STATE)
        return filled

    def fill(self, module: nn.Module) -> nn.Module:
        """Give a module the golden weights, once its keys and shapes are the listed ones."""
        self.check_state(module)
        state = module.state_dict()
        state.update(self.fill_state())
        module.load_state_dict(state)
        return module

    def check_state(self, module: nn.Module) -> None:
        """Compare the module's keys, shapes and types with the state list, in order."""
        home = self._find("state", list)
        got = [
            (key, list(value.shape), str(value.dtype).removeprefix("torch."))
            for key, value in module.state_dict().items()
        ]
        listed = [(key, list(shape), dtype) for key, shape, dtype in home.state]
        for ours, theirs in zip(got, listed, strict=False):
            if ours != theirs:
                raise ValueError(f"{self.golden.name}/{self.name}: key {ours}, expected {theirs}")
        if len(got) != len(listed):
            odd = (got if len(got) > len(listed) else listed)[min(len(got), len(listed))][0]
            raise ValueError(
                f"{self.golden.name}/{self.name}: {len(got)} keys, expected {len(listed)}; "
                f"the first without a partner is {odd!r}"
            )
        home.compared.add(STATE)

    # Outputs

    def expected(self, name: str) -> Tensor:
        """Give the stored part of an output."""
        key = f"{self.name}/{name}"
        if name not in self.outputs or key not in self.golden.arrays:
            raise ValueError(f"{self.golden.name}: no output {key!r}")
        return torch.from_numpy(np.array(self.golden.arrays[key]))

    def compare(self, name: str, result: Tensor | float, where: Tensor | None = None) -> float:
        """Compare a full result with an output: the largest error over its tolerance.

        Integers must be equal (0 or inf). With where, a mask of the full result's shape, only the
        elements it marks count.
        """
        spec, expected = self.outputs.get(name, {}), self.expected(name).numpy()
        full = torch.as_tensor(result).detach().cpu().numpy()
        if full.size == math.prod(spec["shape"]) == 1:
            full = full.reshape(spec["shape"])
        if list(full.shape) != list(spec["shape"]):
            raise ValueError(
                f"{self.golden.name}/{self.name}: output {name!r} should have shape "
                f"{spec['shape']}, got {list(full.shape)}"
            )
        got = _apply_slice(full, spec.get("slice", ""))
        if got.size == expected.size == 1:
            got = got.reshape(expected.shape)
        assert got.shape == expected.shape, (got.shape, expected.shape)
        self.compared.add(name)
        if spec.get("exact"):
            error = np.where(got.astype(np.int64) == expected.astype(np.int64), 0.0, np.inf)
        else:
            got, expected = got.astype(np.float64), expected.astype(np.float64)
            error = np.abs(got - expected) / (spec["atol"] + spec["rtol"] * np.abs(expected))
            error = np.where(np.isfinite(got) & np.isfinite(expected), error, np.inf)
        if where is not None:
            mask = _apply_slice(where.cpu().numpy(), spec.get("slice", ""))
            error = np.where(mask, error, 0.0)
        return float(error.max(initial=0.0))

    def unchecked(self) -> list[str]:
        """List the outputs, and the state list, that were never compared."""
        wanted = list(self.outputs)
        if isinstance(self.manifest.get("state"), list):
            wanted.append(STATE)
        return [what for what in wanted if what not in self.compared]


def _apply_slice(array: np.ndarray, text: str) -> np.ndarray:
    """Apply numpy indexing written as text, such as '[:, ::4, 0]' or '.reshape(-1)[::7][:256]'."""
    pattern = r"\.reshape\(-1\)|\[[^\]]*\]"
    if re.sub(pattern, "", text).strip():
        raise ValueError(f"cannot read the slice {text!r}")
    for step in re.findall(pattern, text):
        if step.startswith("."):
            array = array.reshape(-1)
        else:
            array = array[tuple(_index(part.strip()) for part in step[1:-1].split(","))]
    return array


def _index(text: str) -> int | slice:
    if ":" not in text:
        return int(text)
    return slice(*(int(part) if part.strip() else None for part in text.split(":")))


class _Rule:
    """Evaluate the words that say how an input is made.

    The longest beginning of the text that is a known expression is the rule (the rest is prose,
    but for 'then ...' and 'transposed'). Numbers called by name come from the case's config.
    """

    def __init__(self, case: Case, name: str):
        self.case = case
        self.name = name
        self.how: str = case.inputs[name]["how"]
        self.shape: list[int] = case.inputs[name]["shape"]
        self.previous: np.ndarray | None = None

    def make(self) -> np.ndarray:
        head, _, then = self.how.partition(", then ")
        array = self._layout(self._longest(head))
        if then.startswith("where("):
            self.previous = array
            return self._longest(re.sub(r"\.\s*\)$", "previous)", then))
        if match := re.match(r"(\S+) at (\w+) along the last axis", then):
            index = self.case.input(match[2]).numpy()[..., None]
            np.put_along_axis(array, index, float(match[1]), -1)
        return array

    def _layout(self, array: np.ndarray) -> np.ndarray:
        like = re.search(r"reshaped as (\S+)/(\S+)", self.how)
        how = self.case.golden.case(like[1]).inputs[like[2]]["how"] if like else self.how
        if "transposed" not in how:
            return array.reshape(self.shape) if np.size(array) > 1 else array
        if len(self.shape) == 2:
            return array.T
        batch, length, channels = self.shape
        return array.reshape(channels, batch, length).transpose(1, 2, 0)

    def _longest(self, text: str) -> np.ndarray:
        for end in range(len(text), 0, -1):
            try:
                return self._value(ast.parse(text[:end].strip(), mode="eval").body)
            except (SyntaxError, LookupError):
                continue
        raise ValueError(
            f"{self.case.golden.name}/{self.case.name}: cannot make input {self.name!r} "
            f"by {self.how!r}"
        )

    def _value(self, node: ast.expr) -> np.ndarray:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id="normal"):
                return self._stream().standard_normal(math.prod(self.shape)).astype(np.float32)
            case ast.Name(id="previous"):
                return self.previous
            case ast.Name(id=name):
                return self._named(name)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                left, right = self._value(left), self._value(right)
                return np.float32(left) * right if np.isscalar(left) else left * right
            case ast.Compare(left=left, ops=[ast.Lt()], comparators=[right]):
                return operator.lt(self._value(left), self._value(right))
            case ast.Call(func=ast.Name(id=function), args=args, keywords=keywords):
                options = {k.arg: self._value(k.value) for k in keywords}
                return self._call(function, [self._value(a) for a in args], options)
        raise LookupError(ast.dump(node))

    def _call(self, function: str, args: list, options: dict) -> np.ndarray:
        key = args.pop(0) if args and isinstance(args[0], str) else None
        match function:
            case "where":
                return np.where(*args)
            case "random":
                return self._stream(key).random(size=self.shape).astype(np.float32)
            case "integers":
                return self._stream(key).integers(*args, size=self.shape).astype(np.int64)
            case "linspace":
                count = args[2] if len(args) > 2 else math.prod(self.shape)
                return np.linspace(*args[:2], count)
            case "audio":
                return self._audio(key, *args, **options)
        raise LookupError(function)

    def _audio(self, key: str | None, n: int, sr: int, chans: int | None = None) -> np.ndarray:
        """Two tones and noise; each further channel has the tones 0.9 times as loud."""
        t = np.arange(n) / sr
        tone = 0.4 * np.sin(2 * np.pi * 220 * t) + 0.25 * np.sin(2 * np.pi * 1370.5 * t + 0.3)
        count = chans or 1
        noise = self._stream(key).standard_normal(count * n).reshape(count, n)
        audio = (0.9 ** np.arange(count)[:, None] * tone + 0.1 * noise).astype(np.float32)
        return audio if chans else audio[0]

    def _stream(self, key: str | None = None) -> np.random.Generator:
        return self.case.golden.generator(f"input:{key or f'{self.case.name}/{self.name}'}")

    def _named(self, name: str) -> np.ndarray | float:
        if name in self.case.inputs:
            return self.case.input(name).numpy()
        if name == "n":
            return math.prod(self.shape)
        config = dict(self.case.config)
        config.update(config.get("model", {}))
        return config["tokens" if name == "N" else name]
