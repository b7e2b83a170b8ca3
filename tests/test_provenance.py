"""Code digests: what they see, what they do not, and that the closure found by reading is the one that runs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from hcep import provenance, registry
from hcep.config.methods import METHODS
from hcep.provenance import closure, code_digest

STAGES = [
    "hcep.media.frames",
    "hcep.media.audio",
    "hcep.media.index",
    "hcep.protocol.make_split",
    "hcep.evaluation.evaluate",
    "hcep.evaluation.aggregate",
    "hcep.evaluation.posthoc",
    "hcep.evaluation.posthoc_summary",
    "hcep.evaluation.unknowns",
    "hcep.evaluation.robustness_summary",
    "hcep.figures.fig9",
    "hcep.figures.qc_page",
    "hcep.figures.unknowns_page",
    "hcep.training.train",
    "hcep.training.score",
    "hcep.training.robustness",
    "hcep.training.encode",
    "hcep.methods.arpl_mm",
    "hcep.methods.hcep",
]


@pytest.mark.parametrize("stage", STAGES)
def test_the_closure_is_what_python_imports(stage):
    code = f"import sys, {stage}; print(*sorted(m for m in sys.modules if m.startswith('hcep')))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    packages = {name for name in loaded if provenance._source(name).name == "__init__.py"}
    assert {n for n in loaded if n not in packages and not provenance.is_outside(n)} <= set(closure([stage]))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules: a imports b, c stands alone."""

    cached = (provenance._facts, provenance._imports)

    def write(**modules):
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
        for function in cached:
            function.cache_clear()
        monkeypatch.setattr(provenance, "_source", lambda name: tmp_path / f"{name.rpartition('.')[2]}.py")

    write(a="from hcep import b\n\ndef f():\n    return b.g()\n", b="def g():\n    return 1\n", c="x = 1\n")
    yield write
    for function in (*cached, provenance._remembered):
        function.cache_clear()


def test_comments_formatting_and_docstrings_change_nothing(package):
    before = code_digest(["hcep.a"])
    package(b='"""New."""\n\n\ndef g():\n    """Say one."""\n    # why\n    return (1)\n')
    assert code_digest(["hcep.a"]) == before


def test_code_of_an_imported_module_changes_the_digest_and_other_code_does_not(package):
    before = code_digest(["hcep.a"])
    package(c="x = 2\n")
    assert code_digest(["hcep.a"]) == before
    package(b="def g():\n    return 2\n")
    assert code_digest(["hcep.a"]) != before


def test_what_an_earlier_start_knew_is_used_by_content_and_a_damaged_memory_is_not(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(provenance, "_looked_at", set())
    before = code_digest(["hcep.a"])
    provenance.remember_code()
    memory = tmp_path / provenance.MEMORY
    assert len(json.loads(memory.read_text())) == 2

    def again(**modules):
        provenance._remembered.cache_clear()
        package(**modules)
        return code_digest(["hcep.a"])

    # nothing is parsed of a file that has not changed
    with monkeypatch.context() as patched:
        patched.setattr(provenance.ast, "parse", None)
        assert again() == before
    assert again(b="def g():\n    return 2\n") != before
    for damaged in (b"", b"[]", b'{"a": 1}', b"null", b"\xff"):
        memory.write_bytes(damaged)
        assert again(b="def g():\n    return 1\n") == before
        provenance.remember_code()
        assert len(json.loads(memory.read_text())) >= 2


def test_imports_for_type_checkers_do_not_count(package):
    package(a="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from hcep import c\n")
    assert closure(["hcep.a"]) == ["hcep.a"]


def test_imports_inside_functions_count(package):
    package(a="def f():\n    import hcep.c\n")
    assert closure(["hcep.a"]) == ["hcep.a", "hcep.c"]


def test_one_method_is_outside_the_closure_of_another():
    one = closure(["hcep.training.train", "hcep.methods.arpl_mm"])
    assert "hcep.methods.hcep" not in one and "hcep.methods.linear" not in one and "hcep.evaluation.metrics" not in one


def test_methods_on_cached_features_import_neither_open_clip_nor_transformers():
    for entry in METHODS.values():
        if entry.inputs != "features":
            continue
        module = registry.module_of(entry.target)
        code = f"import sys, hcep.training.train, hcep.training.score, {module}; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert "torch" in loaded and "open_clip" not in loaded and "transformers" not in loaded


ORDER = (
    "stages",
    "config",
    "datasets",
    "media",
    "protocol",
    "evaluation",
    "encoders",
    "methods",
    "training",
    "figures",
    "inference",
    "page",
    "slurm",
    "demo",
    "planning",
    "own_data",
    "verbs",
)


def test_a_stage_imports_only_stages_before_it():
    root = provenance._source("hcep.cli").parent
    for path in root.glob("*/**/*.py"):
        own = ORDER.index(path.relative_to(root).parts[0])
        for name in provenance._imports(path):
            parts = name.split(".")
            if len(parts) > 2:
                assert ORDER.index(parts[1]) <= own, f"{path.name} imports {name}"


@pytest.mark.parametrize(
    "stage",
    [
        "hcep.media.frames",
        "hcep.evaluation.aggregate",
        "hcep.evaluation.posthoc",
        "hcep.figures.fig9",
        "hcep.own_data.start",
        "hcep.evaluation.robustness_summary",
        "hcep.cli",
    ],
)
def test_stages_without_a_model_do_not_import_torch(stage):
    code = f"import sys, {stage}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
