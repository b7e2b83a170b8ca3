"""Which code a stage runs, as one digest: the trigger that a workflow engine cannot see by itself.

The import closure of a stage's modules inside this package is found by reading their syntax trees; the digest is over
``ast.unparse`` of the trees without docstrings, so that comments, formatting and file dates change nothing.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from hcep.errors import HcepError
from hcep.files import write_text
from hcep.registry import module_of
from hcep.stages import STAGES

PACKAGE = "hcep"
# tables of names, the configuration and the command line decide which stage runs and with which settings, which are
# compared by themselves, and not what it computes
OUTSIDE = ("hcep", "hcep.cli", "hcep.registry", "hcep.provenance")
OUTSIDE_FOLDERS = ("hcep.config", "hcep.planning", "hcep.stages", "hcep.verbs")
# below the working folder; the same source is other code for another Python, and for another reader
MEMORY, VERSION = Path(".snakemake/hcep/code.json"), sys.version.encode() + Path(__file__).read_bytes()
# below a workflow that `hcep deploy` laid out: the version that did
DEPLOYED = Path("workflow/deployed.json")
_looked_at: set[str] = set()


def code_digest(modules: Iterable[str]) -> str:
    """Digest (16 hex characters) of the code that these modules run, imports included."""
    total = hashlib.sha256()
    for name in closure(modules):
        total.update(f"{name}\n{_facts(_source(name)).code}\n".encode())
    return total.hexdigest()[:16]


def is_outside(module: str) -> bool:
    """Whether a module decides what runs and with which settings, and so belongs to no stage's code."""
    return module in OUTSIDE or module.startswith(OUTSIDE_FOLDERS)


def stage_digest(verb: str, *targets: str) -> str:
    """Digest of the code of a stage, together with a method, an adapter or a figure (``"module:name"``)."""
    stage = STAGES[verb]
    return code_digest([*(stage.code or [module_of(stage.function)]), *map(module_of, targets)])


def closure(modules: Iterable[str]) -> list[str]:
    """Sorted names of all modules of this package that `modules` import, directly or not, themselves included."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or is_outside(name):
            continue
        found.add(name)
        waiting.extend(_imports(_source(name)))
    return sorted(found)


def check_copies(checkout: Path, interpreter: str | None) -> None:
    """Refuse to compare the digests of one copy of the package and to run another.

    Parameters
    ----------
    checkout : path
        Folder of the workflow, which may hold a copy of the package.
    interpreter : str or None
        Python of the environment whose `hcep` the jobs run; None where they have environments of their own.

    Raises
    ------
    HcepError
        When the imported package, the one of the jobs and the one beside the workflow are not the same code, or the
        workflow was laid out by another version.
    """
    here = Path(__file__).parent
    _check_deployed(checkout)
    others = [("beside the workflow is", checkout / PACKAGE)]
    if interpreter is not None:
        others.insert(0, ("jobs run", _package_of(interpreter)))
    for what, other in others:
        if not (other / "__init__.py").is_file() or other.resolve() == here.resolve():
            continue
        if _package_digest(other) != _package_digest(here):
            raise HcepError(
                f"two copies of the package differ: {what} {other}, and the digests of code are taken from {here}",
                remedy=f"install the copy that is meant, `{sys.executable} -m pip install --no-deps -e "
                f"{shlex.quote(str(checkout))}`, or start the Snakefile of the other one",
            )


def _package_of(interpreter: str) -> Path:
    """Folder of the package that a Python imports."""
    # -P: not from the working folder, as the installed command `hcep`
    question = "import importlib.util as u; s = u.find_spec('hcep'); print(s.origin if s else '')"
    answer = subprocess.run([interpreter, "-P", "-c", question], capture_output=True, text=True, check=True)
    if not answer.stdout.strip():
        raise HcepError(
            "the package hcep is not installed in the environment of Snakemake, so no job could run",
            file=interpreter,
            remedy=f"{interpreter} -m pip install --no-deps -e {shlex.quote(str(Path(__file__).parents[1]))}",
        )
    return Path(answer.stdout.strip()).parent


def _check_deployed(checkout: Path) -> None:
    """Refuse the rules of one version and the package of another, which need not fit together."""
    if not (checkout / DEPLOYED).is_file():
        return
    made_by, here = json.loads((checkout / DEPLOYED).read_text(encoding="utf-8"))["hcep"], version(PACKAGE)
    if made_by != here:
        raise HcepError(
            f"hcep {made_by} laid this workflow out, and hcep {here} is installed",
            file=checkout / DEPLOYED,
            remedy=f"install hcep {made_by} again, or lay out this one, `hcep deploy NEW`, and copy config/ over",
        )


def _package_digest(folder: Path) -> str:
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        total.update(path.relative_to(folder).as_posix().encode() + b"\n" + path.read_bytes())
    return total.hexdigest()


@cache
def _source(module: str) -> Path:
    root = find_spec(PACKAGE)
    if root is None or root.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed; run `pip install -e .`")
    base = Path(root.origin).parent.joinpath(*module.split(".")[1:])
    path = base.with_suffix(".py")
    return path if path.is_file() else base / "__init__.py"


class _Facts(NamedTuple):
    """Of a source file: modules of this package with the names that are imported from each, and a digest of the code.

    The names are None for ``import module``.
    """

    imports: list[tuple[str, list[str] | None]]
    code: str


@cache
def _facts(path: Path) -> _Facts:
    source = path.read_bytes()
    known, key = _remembered(), hashlib.sha256(VERSION + source).hexdigest()
    _looked_at.add(key)
    if key not in known:
        tree = ast.parse(source)
        known[key] = _Facts(list(_named(tree)), hashlib.sha256(_code(tree).encode()).hexdigest())
    return known[key]


@cache
def _remembered() -> dict[str, _Facts]:
    """Facts of an earlier start, by the content of the file: finding them takes longer than all else of a start."""
    try:
        found = json.loads(MEMORY.read_text(encoding="utf-8"))
        return {key: _Facts([(name, names) for name, names in imports], code) for key, (imports, code) in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # not there, or damaged: they are found again
        return {}


def remember_code() -> None:
    """Keep what is known of the code in the working folder for the next start, and nothing of older code.

    A folder that may not be written (`snakemake --lint` in somebody else's) stays as it is.
    """
    place = next(folder for folder in MEMORY.absolute().parents if folder.is_dir())
    if not os.access(place, os.W_OK):
        return
    known = {key: _remembered()[key] for key in sorted(_looked_at & _remembered().keys())}
    text = json.dumps(known)
    if not MEMORY.is_file() or MEMORY.read_bytes() != text.encode():
        write_text(MEMORY, text)


@cache
def _imports(path: Path) -> tuple[str, ...]:
    found: list[str] = []
    for module, names in _facts(path).imports:
        # `from package import module` names a module, `from module import name` does not
        inner = [f"{module}.{name}" for name in names or ()]
        found += [name for name in inner if _source(name).is_file()] or [module]
    return tuple(found)


def _named(tree: ast.Module) -> Iterator[tuple[str, list[str] | None]]:
    """What a module imports of this package."""
    for node in _run_time_nodes(tree):
        if isinstance(node, ast.Import):
            named: list[tuple[str, list[str] | None]] = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = [(node.module, [alias.name for alias in node.names])]
        else:
            continue
        yield from (one for one in named if one[0] == PACKAGE or one[0].startswith(f"{PACKAGE}."))


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _run_time_nodes(node)


def _code(tree: ast.Module) -> str:
    """A module's code without docstrings; the tree is changed."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
