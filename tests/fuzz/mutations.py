"""Seeded changes of a file's bytes: blind ones, and ones that know text and numbers."""

import copy
import io
import json
import random
import re
import string
import zipfile
from collections.abc import Callable, Iterator

NUMBERS = (b"0", b"-1", b"1", b"65536", b"4294967296", b"1e999", b"NaN", b"1.5", b"9" * 30)
WORDS = (b"null", b"true", b"[]", b"{}", b'""', b'"\xff"', b"[" * 2000, b'"../../x"', b'"http://x"')
ODD = (
    *(None, True, 0, -1, 1, 2, 1.5, 2**40, 10**30, float("nan"), float("inf"), "", "x", "a.b"),
    *([], {}, [1], [""], [[]], {"a": 1}, {"class_path": "os.system"}, "../../x", "9"),
)
EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
Mutation = Callable[[bytearray, random.Random], None]


def flip(data: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 3, 10))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def overwrite(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    size = min(draw.choice((1, 4, 16)), len(data) - start)
    data[start : start + size] = draw.randbytes(size)


def cut(data: bytearray, draw: random.Random) -> None:
    del data[draw.randrange(len(data)) :]


def delete(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    del data[start : start + draw.choice((1, 2, 8, 64))]


def insert(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data) + 1)
    data[start:start] = draw.randbytes(draw.choice((1, 4, 32)))


def repeat(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    data[start:start] = data[start : start + draw.choice((4, 32, 256))] * draw.choice((1, 5))


def zero(data: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(data))
    size = min(draw.choice((4, 32, 256)), len(data) - start)
    data[start : start + size] = bytes(size)


def edge_number(data: bytearray, draw: random.Random) -> None:
    """Put a number at the edge of its type where one of 1 to 8 bytes may be."""
    width = draw.choice((1, 2, 4, 8))
    number = draw.choice(EDGES) & (256**width - 1)
    start = draw.randrange(max(1, len(data) - width))
    data[start : start + width] = number.to_bytes(width, draw.choice(("little", "big")))


def text_number(data: bytearray, draw: random.Random) -> None:
    """Replace a number that is written in text."""
    replace(data, draw, rb"-?\d+(\.\d+)?", NUMBERS)


def text_word(data: bytearray, draw: random.Random) -> None:
    """Replace a word, with its quotes, by a value of another kind."""
    replace(data, draw, rb"\"[^\"]*\"|\b[a-z_]{3,}\b", WORDS + NUMBERS)


def text_name(data: bytearray, draw: random.Random) -> None:
    """Misspell a word."""
    letters = bytes(draw.choices(string.ascii_lowercase.encode(), k=5))
    replace(data, draw, rb"\b[a-z_]{3,}\b", (letters,))


def replace(
    data: bytearray, draw: random.Random, pattern: bytes, values: tuple[bytes, ...]
) -> None:
    found = list(re.finditer(pattern, bytes(data)))
    if found:
        one = draw.choice(found)
        data[one.start() : one.end()] = draw.choice(values)


MUTATIONS: tuple[Mutation, ...] = (
    *(flip, overwrite, cut, delete, insert, repeat, zero, edge_number),
    *(text_number, text_word, text_name),
)


def mutate(original: bytes, seed: str) -> bytes:
    """Change a file's bytes once to three times; the same seed makes the same changes.

    Half of the changed archives, safetensors and JSON files are whole ones with other content.
    """
    draw = random.Random(seed)
    if draw.random() < 0.5:
        if original.startswith(b"PK"):
            return rezipped(original, draw)
        if original.startswith(b"{") and b"}\n{" not in original:
            return restructured(original, draw)
        if original[8:9] == b"{":
            return relabelled(original, draw)
    return changed(original, draw)


def changed(original: bytes, draw: random.Random) -> bytes:
    data = bytearray(original)
    for _ in range(draw.choice((1, 1, 2, 3))):
        if data:
            draw.choice(MUTATIONS)(data, draw)
    return bytes(data)


def rezipped(original: bytes, draw: random.Random) -> bytes:
    """Change, drop or compress one member of an archive and write it again."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(original)) as archive, zipfile.ZipFile(made, "w") as new:
        names = archive.namelist()
        chosen, how = (
            draw.choice(names),
            draw.choice(("change", "change", "change", "drop", "pack")),
        )
        for name in names:
            data = archive.read(name)
            if name != chosen:
                new.writestr(name, data)
            elif how == "change":
                new.writestr(name, changed(data, draw))
            elif how == "pack":
                new.writestr(name, data, zipfile.ZIP_DEFLATED)
    return made.getvalue()


def relabelled(original: bytes, draw: random.Random) -> bytes:
    """Change the header of a safetensors file, with its length."""
    length = int.from_bytes(original[:8], "little")
    header = restructured(original[8 : 8 + length], draw)
    return len(header).to_bytes(8, "little") + header + original[8 + length :]


def restructured(original: bytes, draw: random.Random) -> bytes:
    """Replace, remove or add values in JSON."""
    content = json.loads(original)
    for _ in range(draw.choice((1, 1, 2))):
        places = list(containers(content))
        place = draw.choice(places)
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            continue
        key, how = draw.choice(keys), draw.choice(("replace", "replace", "remove", "add"))
        if how == "remove":
            del place[key]
        elif how == "replace" or isinstance(place, list):
            place[key] = copy.deepcopy(draw.choice((*ODD, content)))
        else:
            place["".join(draw.choices(string.ascii_lowercase, k=3))] = draw.choice(ODD)
    return json.dumps(content).encode()


def containers(content: object) -> Iterator[dict | list]:
    """Find all objects and lists of a JSON value."""
    if isinstance(content, (dict, list)):
        yield content
        for value in content.values() if isinstance(content, dict) else content:
            yield from containers(value)
