"""Mistakes of a user in one line; errors of code keep their traceback."""

import errno
import re
import shutil
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from traceback import walk_tb

from foundation.errors import DivergedError, UserError
from foundation.program import program
from music_diffusion.checkpoints.legacy import HINTS
from music_diffusion.commands.kinds import WORDS, alternatives
from music_diffusion.commands.logging import PACKAGES

NO_MEMORY = "out of memory|can't allocate memory|tried to allocate"  # torch's words, by device
PROCESS_LOST = "gloo/transport|NCCL.*remote process|ncclRemoteError"  # torch's words, by backend
SHARED_MEMORY = "/dev/shm"
LEAST_SHARED = 2**20  # bytes; a semaphore takes a page
NO_SHARED_MEMORY = r"\(shm\)|out of shared memory|killed by signal: Bus error"  # torch's words
TEARDOWN = "call `iter(combined_loader)` first"  # Lightning's, where no data worker could start
FILE_ERRORS = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ENOENT),
    *(errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO),
)
NO_ROOM = {  # on a disk, and what to do
    errno.ENOSPC: ("the disk is full", "make room"),
    errno.EDQUOT: ("your quota of the disk is used up", "make room"),
    errno.EFBIG: ("the greatest allowed file is reached", "raise the limit (ulimit -f unlimited)"),
}
RESTORING = "lightning.pytorch.trainer.connectors.checkpoint_connector"
LIBRARIES = ("torch", "lightning", *PACKAGES)
INSTALLED = (
    *("torch", "torchaudio", "lightning", "jsonargparse", "einops", "soundfile", "wandb"),
    *("safetensors", "matplotlib", "tqdm", "filelock", "numpy", "yaml"),
)

ABSTRACT = (  # how the parser says that a class can't be made, with the class's path
    r"but ([\w.]+\.\w+) is abstract",
    r"but (?:\S+ )?is abstract\s[\s\S]*?Given value: ([\w.]+)",
)
NOT_MADE = r"Can't instantiate abstract class (\w+) with.* abstract methods? '?(\w.*?)'?$"
NEEDS = r"needs [\w .]+"  # of one alternative, without the value
NO_CLASS = (
    r"\1 is no class that is known: give its path, such as mylab.MyClass (one of ours may be given "
    r"by its name alone)"
)
NAMELESS_SAMPLER = (
    "options of a sampler need its name, such as --sampler Analytic --sampler.steps 64; "
    "--steps alone changes the model's own sampler"
)


@contextmanager
def usage_errors(command: str) -> Iterator[None]:
    """Turn a parser's error into a UserError that names the help to read."""
    try:
        yield
    except ArgumentError as error:
        reason, options = innermost(clear(str(error)))
        raise UserError(f"{reason}\n({program()} {command} {options} lists the options)") from error


def innermost(reason: str) -> tuple[str, str]:
    """Cut a parser's reason down to the class it is about; return it, and the option for help."""
    keys = re.findall(r"Parser key \"([\w.]+)\"", reason)
    classes = re.findall(r"given class_path '([\w.]+)'", reason)
    if not keys or not classes:
        return re.sub(r"Parser key \"([\w.]+)\":\s*(- )?", r"--\1: ", reason), "--help"
    if classes[-1] == "foundation.sampler.Sampler":
        return NAMELESS_SAMPLER, "--help"
    key, tail = ".".join(keys), reason.rsplit(f"given class_path '{classes[-1]}':", 1)[-1].strip()
    tail = re.sub(r"Parser key \"[\w.]+\":;?\s*", "", tail)
    found = "looked in the project" not in tail and "has no attribute" not in tail
    if found:
        owner = ".".join(keys[: len(classes)])  # a key more than classes is an option of the last
        return f"--{key} {classes[-1]}: {tail}", f"--{owner}.help {classes[-1]}"
    outer = f"--{'.'.join(keys[:-1])}.help {classes[-2]}" if len(classes) > 1 else "--help"
    return f"--{key} {classes[-1]}: {tail}", outer


def user_error(error: Exception) -> UserError | None:
    """Return a user's mistake, also one that the parser wraps where a class raised it."""
    for found in (error, error.__cause__):
        if isinstance(found, UserError):
            return found
    return None


def said_by(error: UserError) -> str:
    """Return its message; where a data worker raised it, without the traceback that torch adds."""
    raised = f"\n{type(error).__module__}.{type(error).__qualname__}: "
    return str(error).rsplit(raised, 1)[-1].strip()


def behind(error: BaseException) -> BaseException:
    """Return what Lightning was stopping for, where another exception hides it.

    It makes SystemExit of Ctrl-C, and where data workers were starting its teardown fails.
    """
    hides = isinstance(error, SystemExit) or TEARDOWN in str(error)
    return (error.__context__ or error) if hides else error


def interrupted(error: BaseException) -> bool:
    """Say whether it was Ctrl-C."""
    return isinstance(behind(error), KeyboardInterrupt)


def explain(error: Exception) -> tuple[str, int] | None:
    """Say in a line what was wrong, with the exit status; None for what isn't a user's mistake."""
    if isinstance(found := behind(error), Exception):
        error = found
    if mistake := user_error(error):
        return said_by(mistake), 2
    if raised_by_optimizer(error):
        return f"an option of the optimizer: {error}", 2
    if isinstance(error, DivergedError):
        return str(error), 1
    if raised_in_restoring(error):
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        return f"the checkpoint is damaged, resume an earlier one: {reason}", 2
    if shared_memory_is_full(error):
        return (
            f"{SHARED_MEMORY}, through which data workers pass batches, is too small: enlarge it "
            "(docker run --shm-size 1g), or --data.num_workers 0",
            1,
        )
    if isinstance(error, OSError) and (found := explain_file_error(error)):
        return found
    if isinstance(error, ModuleNotFoundError) and error.name in INSTALLED:
        return (
            f"the package {error.name} isn't in this Python: pip install -r requirements.txt, or, "
            "after make quickstart, source .venv/bin/activate",
            2,
        )
    if isinstance(error, ModuleNotFoundError) and "pip install" in str(error):
        return " ".join(str(error).split()), 2  # of Lightning's extras
    if isinstance(error, RuntimeError) and re.search(PROCESS_LOST, str(error)):
        reason = str(error).split("] ", 1)[-1].splitlines()[0]
        return f"another process of this training is gone ({reason}): its output may say why", 1
    if isinstance(error, TypeError) and (found := re.match(NOT_MADE, str(error))):
        return f"{found[1]} lacks {found[2]}: its base class asks for it (docs/extending.md)", 2
    torchs = isinstance(error, RuntimeError) and re.search(NO_MEMORY, str(error))
    if torchs or isinstance(error, MemoryError):
        return (
            "out of memory: make less at once (fit: --data.batch_size, with "
            "--trainer.accumulate_grad_batches to make up for it; sample: --seconds, --batch_size)",
            1,
        )
    return None


def explain_file_error(error: OSError) -> tuple[str, int] | None:
    """Say in a line what a file, or the disk, did not allow, with the exit status."""
    if error.errno in NO_ROOM:
        reason, advice = NO_ROOM[error.errno]
        return f"{reason}, {error.filename or 'a file'} can't be written: {advice}", 1
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "too many open files: raise the limit (ulimit -n 4096), or --data.num_workers 0", 1
    if error.filename and error.errno in FILE_ERRORS:
        return f"{error.filename}: {error.strerror}", 2
    return None


def raised_in_restoring(error: Exception) -> bool:
    """Say whether a library, or this project, couldn't use what Lightning found in a checkpoint."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    modules = [str(frame.f_globals.get("__name__")) for frame in frames]
    names = [frame.f_code.co_name for frame in frames]
    restoring = any(
        module == RESTORING and "restore" in name
        for module, name in zip(modules, names, strict=True)
    )
    return restoring and modules[-1].split(".")[0] in LIBRARIES


def raised_by_optimizer(error: Exception) -> bool:
    """Say whether one of torch's optimizers refused the options that it was made with."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    module = str(frames[-1].f_globals.get("__name__")) if frames else ""
    constructing = module.startswith("torch.optim.") and frames[-1].f_code.co_name == "__init__"
    return isinstance(error, ValueError) and constructing


def shared_memory_is_full(error: Exception) -> bool:
    """Say whether a data worker, or what main shares with it, found no room in /dev/shm."""
    if isinstance(error, (RuntimeError, OSError)) and re.search(NO_SHARED_MEMORY, str(error)):
        return True
    nameless = isinstance(error, OSError) and error.errno == errno.ENOSPC and not error.filename
    folder = Path(SHARED_MEMORY)
    return nameless and folder.is_dir() and shutil.disk_usage(folder).free < LEAST_SHARED


def clear(message: str) -> str:
    """Cut a parser's tree of failed attempts down to the reasons."""
    if re.search(r"class_path 'lightning.LightningModule'|required: .*\w\.model\b", message):
        return (
            "no config says what the model is: give --config sedd_absorb, jbdiff or another; an "
            "overlay goes after its own: --config sedd_absorb --config tiny, or --config jbdiff "
            "--config level3_small"
        )
    for pattern in ABSTRACT:
        if found := re.search(pattern, message):
            return abstract_class(found[1])
    # what may be made later, such as an embedding, is a callable to the parser
    message = re.sub(r"Type [\w.]*Callable\[.*\] expects a .* class:\s*", "", message)
    message = re.sub(r"\. Got value: Namespace\(.*\)", "", message)
    message = in_words(message)
    start, found, reasons = message.partition("Errors:")
    if not found:
        return where_looked(" ".join(message.split()))
    parts = [" ".join(part.split()) for part in reasons.split("Given value")[0].split("- ")]
    parts = [part for part in dict.fromkeys(parts) if part and not re.fullmatch(NEEDS, part)]
    parts = [part for part in parts if not any(part in other != part for other in parts)]
    where = start.split("Does not validate")[0].strip()
    if not parts:
        kinds = " ".join(start.partition("Subtypes:")[2].split())
        value = reasons.partition("Given value:")[2].strip()
        return f"{where} expected one of {kinds}, got {value}"
    return where_looked(f"{where} {'; '.join(parts)}".strip())


def abstract_class(path: str) -> str:
    """Say which methods a class lacks that its base class asks for; the parser has imported it."""
    module, _, name = path.rpartition(".")
    kind = getattr(import_module(module), name)
    missing = sorted(kind.__abstractmethods__)
    base = next(one for one in kind.__mro__[::-1] if missing[0] in vars(one))
    return (
        f"{path} lacks {' and '.join(missing)}: a {base.__module__}.{base.__qualname__} must have "
        f"{'it' if len(missing) == 1 else 'them'} (docs/extending.md)"
    )


def in_words(message: str) -> str:
    """Say what was expected in words instead of Python's types."""
    message = re.sub(r"\s*- Expected a path but .* not accessible or invalid", "", message)
    message = re.sub(r"Expected a dot import path string: (\S+)", NO_CLASS, message)
    message = re.sub(r"typing\.Literal\[([^]]*)\]", lambda found: one_of(found[1]), message)
    for name, words in {**WORDS, "NoneType": "nothing"}.items():
        message = message.replace(f"<class '{name}'>", words)
    message = re.sub(r"<class '([\w.]+)'>", r"\1", message)
    message = re.sub(r"Parser key \"([\w.]+)\":\s*(?=- )", r'Parser key "\1": ', message)
    return re.sub(r"Expected an? ([^.\n]*)(?:\. Got value: )?", needed, message)


def needed(found: re.Match) -> str:
    return f"needs {found[1]}, got " if "Got value" in found[0] else f"needs {found[1]}"


def one_of(values: str) -> str:
    """Write 'a', 'b', 'c' as a, b or c."""
    return alternatives([value.strip(" '") for value in values.split(",")])


def where_looked(reason: str) -> str:
    """Add today's name to the message of an old option, and where was looked to that of a class."""
    for name, now in HINTS.items():
        if re.search(rf"[\W_]{name}\W|: {name}$", f" {reason} ") and now not in reason:
            return f"{reason} ({name} is {now} now)"
    if not re.search(
        r"No module named|ModuleNotFound|Unexpected import|not.*import|Import", reason
    ):
        return reason
    return (
        f"{reason} (looked in the project, the installed packages, the current folder "
        f"{Path.cwd()} and the folders of the configs)"
    )
