"""Which code a stage runs, as one digest: the trigger that a workflow engine cannot see by itself.

The import closure of a stage's modules inside this package is found by reading their syntax trees; the digest is over
``ast.unparse`` of the trees without docstrings, so that comments, formatting and file dates change nothing.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "hcep"
# tables of names and the command line decide which stage runs, not what it computes
OUTSIDE = ("hcep", "hcep.cli", "hcep.registry", "hcep.provenance")


def code_digest(modules: Iterable[str]) -> str:
    """Digest (16 hex characters) of the code that these modules run, imports included."""
    total = hashlib.sha256()
    for name in closure(modules):
        total.update(f"{name}\n{_code(_source(name))}\n".encode())
    return total.hexdigest()[:16]


def closure(modules: Iterable[str]) -> list[str]:
    """Sorted names of all modules of this package that `modules` import, directly or not, themselves included."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found or name in OUTSIDE:
            continue
        found.add(name)
        waiting.extend(_imports(_source(name)))
    return sorted(found)


@cache
def _source(module: str) -> Path:
    root = find_spec(PACKAGE)
    if root is None or root.origin is None:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed; run `pip install -e .`")
    base = Path(root.origin).parent.joinpath(*module.split(".")[1:])
    path = base.with_suffix(".py")
    return path if path.is_file() else base / "__init__.py"


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(path: Path) -> tuple[str, ...]:
    names = []
    for node in _run_time_nodes(_tree(path)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            # `from package import module` names a module, `from module import name` does not
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names += [name for name in inner if name.startswith(PACKAGE) and _source(name).is_file()] or [node.module]
    return tuple(name for name in names if name == PACKAGE or name.startswith(f"{PACKAGE}."))


def _run_time_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _run_time_nodes(node)


@cache
def _code(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)
