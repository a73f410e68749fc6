"""Classes that a file of settings names: which of them may be imported because a file says so.

They are this project's, torch's optimisers and layers, and the user's: of modules that the program
has imported already, or that a training or `--trust MODULE` has named before. These are recorded in
the cache. What a module of theirs has itself imported (`mylab.os.system`) isn't theirs.
"""

import hashlib
import importlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

from foundation.errors import UserError
from foundation.files import bytes_of, cache_folder, printable, replacing

OURS = ("codec", "sedd", "jbdiff", "foundation", "audio", "datamodules", "callbacks", "metrics")
PREFIXES = (*(f"{name}." for name in OURS), "torch.optim.", "torch.nn.")
INSTALLED = [Path(sysconfig.get_path(key)).resolve() for key in ("purelib", "platlib", "stdlib")]
CLASS_KEYS = ("class_path", "_class_path")
CODE = {".py", ".pyc", ".so", ".pyd"}


def import_named(settings: Mapping, source: str | Path) -> None:
    """Import the classes that settings from a file name.

    Raises:
        UserError: for one that is neither this project's nor the user's
    """
    for key, name in named(settings):
        allowed = name.startswith(PREFIXES) or is_users(name) or recorded(name)
        place = None if allowed else find_place(name)
        if not allowed and place is None:
            if key in CLASS_KEYS:
                top = name.partition(".")[0]
                raise UserError(
                    f"{source} needs the class {name}, and there is no {top}.py in the current "
                    f"folder {Path.cwd()}: run this where it is, or import it first"
                )
            continue  # the name of a file, or other text
        if place and not recorded(str(place)):
            raise UserError(f"{source} is refused: it names {name}, {reason(name, place)}")
        check_defined(name, source)


def reason(name: str, place: Path) -> str:
    """Say why a module that was found may not be imported."""
    if is_installed(place):
        return "from outside this project"
    top = name.partition(".")[0]
    return (
        f"of {place}, which neither you nor a training of yours has named here: read that code, "
        f"and if you trust it add --trust {top}"
    )


def trust(module: str) -> None:
    """Let files name the classes of a module of the user's, from now on.

    Raises:
        UserError: where there is no such module, and for an installed one
    """
    place = find_place(f"{module}.") if module.isidentifier() else None
    if place is None:
        raise UserError(f"--trust {module}: there is no {module}.py in {Path.cwd()}")
    if is_installed(place):
        raise UserError(f"--trust {module}: it is an installed package, not a module of yours")
    record(str(place))


def trust_named(settings: object) -> None:
    """Let files name what these settings of the user's name: all of a module of theirs, or a class.

    Names that nothing imported are left out.
    """
    for _, name in named(settings):
        if name.startswith(PREFIXES):
            continue
        if is_users(name) and (place := find_place(name)):
            record(str(place))
        elif hasattr(sys.modules.get(name.rpartition(".")[0]), name.rpartition(".")[2]):
            record(name)


def record(what: str) -> None:
    with replacing(record_of(what)) as temporary:
        temporary.write_text(f"{printable(what)}\n", encoding="utf-8")


def recorded(what: str) -> bool:
    return record_of(what).is_file()


def record_of(what: str) -> Path:
    """The file in the cache that says that the user named a class, or the module at a place."""
    return cache_folder() / "trusted" / hashlib.sha256(bytes_of(what)).hexdigest()[:20]


def is_users(name: str) -> bool:
    """Say whether a name is that of something imported from a file that isn't installed."""
    module, _, attribute = name.rpartition(".")
    found = sys.modules.get(module)
    file = getattr(found, "__file__", None)
    return hasattr(found, attribute) and bool(file) and not is_installed(Path(file))


def is_installed(place: Path) -> bool:
    """Say whether a module's place is Python's own or among the installed packages."""
    place = place.resolve()
    return place == Path("/") or any(place.is_relative_to(folder) for folder in INSTALLED)


def check_defined(name: str, source: str | Path) -> None:
    """Import a class; UserError where there is none, or its module has it from elsewhere."""
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise  # a package that the module itself needs
        found = None
    if found is None:
        raise UserError(f"{source} names {name}, which isn't there in this version")
    home = f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', attribute)}"
    if not (home.startswith(PREFIXES) or is_users(home) or recorded(name)):
        raise UserError(f"{source} is refused: it names {name}, from outside this project")


def find_place(name: str) -> Path | None:
    """Find the file or folder of a class's module, which may lie in the current folder.

    Nothing is imported. A folder without `__init__.py` is one where it holds what the name says
    next.
    """
    here, (top, following) = str(Path.cwd()), name.split(".")[:2]
    if here not in sys.path:
        sys.path.append(here)
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.has_location and spec.origin:
        return Path(spec.origin).resolve()
    folders = [Path(folder).resolve() for folder in spec.submodule_search_locations or []]
    if not folders:
        return Path("/")  # built into Python
    return next((folder for folder in folders if holds(folder / following)), None)


def holds(path: Path) -> bool:
    """Say whether there is a folder, or a module, at a path without its suffix."""
    return path.is_dir() or any(file.suffix in CODE for file in path.parent.glob(f"{path.name}.*"))


def is_dotted(text: str) -> bool:
    """Say whether a text could be the name of a class or function in a module."""
    parts = text.split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)


def named(settings: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Find what could be the name of a class or function in nested settings, with its key."""
    if isinstance(settings, Mapping):
        for name, value in settings.items():
            yield from named(value, str(name))
    elif isinstance(settings, (list, tuple)):
        for value in settings:
            yield from named(value)
    elif isinstance(settings, str) and is_dotted(settings):
        yield key, settings
