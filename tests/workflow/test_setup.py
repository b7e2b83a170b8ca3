"""The ways to set the project up agree with each other, and every command that is written down exists."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from workspace import REPOSITORY

from hcep.stages import STAGES

LOCK = REPOSITORY / "requirements.lock"


def pins(lines) -> dict[str, Version]:
    """Name and version of lines such as ``numpy==2.4.6``."""
    found = {}
    for line in lines:
        text = line.partition("#")[0].strip()
        if text and not text.startswith("-"):
            name, _, version = text.partition("==")
            found[canonicalize_name(name)] = Version(version.partition(";")[0].strip())
    return found


def locked() -> dict[str, Version]:
    """The pins of requirements.lock."""
    return pins(LOCK.read_text().splitlines())


def project() -> dict:
    """pyproject.toml's [project]."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_the_conda_environment_is_the_lock_file():
    environment = yaml.safe_load((REPOSITORY / "workflow/envs/hcep.yaml").read_text())
    names = [entry for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert len(names) == 1
    assert pins(names[0]["pip"]) == locked() | {"hcep": Version(project()["version"])}
    # Snakemake adds its own Python to the one that the Snakefile imports from
    globally = yaml.safe_load((REPOSITORY / "workflow/envs/global.yaml").read_text())["dependencies"]
    assert globally == ["pip", {"pip": [f"hcep=={project()['version']}"]}]


def test_the_conda_environment_has_a_python_that_the_package_allows():
    environment = yaml.safe_load((REPOSITORY / "workflow/envs/hcep.yaml").read_text())
    python = next(entry for entry in environment["dependencies"] if str(entry).startswith("python="))
    assert Requirement(f"python{project()['requires-python']}").specifier.contains(python.partition("=")[2].strip("="))


def test_every_dependency_is_locked_at_a_version_that_it_allows():
    table = project()
    wanted = [*table["dependencies"], *(line for lines in table["optional-dependencies"].values() for line in lines)]
    pinned = locked()
    for requirement in map(Requirement, wanted):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not in requirements.lock"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} against {version}"


def third_party(path) -> set[str]:
    """Top-level packages outside the standard library and this project that a module imports, anywhere in it."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"hcep"}


# what an optional part of the package imports, by the name of its folder and of its extra
OPTIONAL = {"page", "slurm"}
MODULES = {path: third_party(path) for path in (REPOSITORY / "hcep").rglob("*.py")}
IMPORTED = set().union(*(found for path, found in MODULES.items() if path.parent.name not in OPTIONAL))


# asked once: it reads the files of every installed package
BROUGHT = packages_distributions()


def distributions(package: str) -> set[str]:
    """Distributions that bring a package: more than one may share a namespace."""
    return {canonicalize_name(name) for name in BROUGHT[package]}


@pytest.mark.parametrize("dependency", [Requirement(line).name for line in project()["dependencies"]])
def test_every_declared_dependency_is_imported(dependency):
    if dependency == "snakemake":
        # it runs the package, which knows nothing of it; its functions are imported by the workflow alone
        assert re.search(r"^from snakemake\b", (REPOSITORY / "workflow" / "Snakefile").read_text(), re.MULTILINE)
        assert dependency not in IMPORTED
    else:
        assert any(canonicalize_name(dependency) in distributions(package) for package in IMPORTED)


@pytest.mark.parametrize("package", sorted(IMPORTED))
def test_every_imported_package_is_declared(package):
    declared = {canonicalize_name(Requirement(line).name) for line in project()["dependencies"]}
    assert distributions(package) & declared


@pytest.mark.parametrize("part", sorted(OPTIONAL))
def test_an_optional_part_imports_what_its_extra_declares(part):
    imported = set().union(*(found for path, found in MODULES.items() if path.parent.name == part))
    declared = {canonicalize_name(Requirement(line).name) for line in project()["optional-dependencies"][part]}
    own = {name for package in imported - IMPORTED for name in distributions(package)}
    # Snakemake is everywhere where the workflow is
    own -= {"snakemake"}
    assert own == declared and not own & {name for package in IMPORTED for name in distributions(package)}


def test_snakemake_is_as_new_as_the_workflow_asks_for():
    text = (REPOSITORY / "workflow" / "Snakefile").read_text()
    least = re.search(r'min_version\("([\d.]+)"\)', text)
    # and no newer major version, which may read a workflow in another way
    wanted = next(line for line in project()["dependencies"] if line.startswith("snakemake"))
    assert least and wanted == f"snakemake>={least[1]},<{int(least[1].partition('.')[0]) + 1}"
    assert not Requirement(wanted).specifier.contains("10.0.0")


def test_what_is_cited_has_the_version_of_the_package():
    assert yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())["version"] == project()["version"]


def test_the_checks_on_github_are_commands_of_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    files = list((REPOSITORY / ".github/workflows").glob("*.yml"))
    assert files
    found = set()
    for path in files:
        content = yaml.safe_load(path.read_text())
        for name, job in content["jobs"].items():
            for step in job["steps"]:
                if "uses" in step:
                    # a version, not a branch that may change
                    assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step["uses"]), f"{path.name}: {name}"
                else:
                    make, target = step["run"].split()
                    assert make == "make" and target in targets, f"{path.name}: {step['run']}"
                    found.add(target)
    assert {"format", "lint", "test", "small"} <= found


def test_the_catalog_finds_what_it_looks_for():
    usage = yaml.safe_load((REPOSITORY / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    ways = usage["software-stack-deployment"]
    assert ways == {"conda": True, "apptainer": False, "apptainer+conda": False, "report": True}
    # its pages show the one, and its scan reads the other
    assert (REPOSITORY / "config/README.md").is_file() and (REPOSITORY / "workflow/Snakefile").is_file()


def test_commands_of_the_documents_exist():
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test", "lint", "clean"} <= targets
    texts = {path: path.read_text() for where in ("", "docs/", "config/") for path in REPOSITORY.glob(f"{where}*.md")}
    assert "make demo" in texts[REPOSITORY / "README.md"] and "make test" in texts[REPOSITORY / "README.md"]
    for path, text in texts.items():
        # in code only: a sentence may well "make sense"
        code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
        for piece in code:
            for target in re.findall(r"(?:^|[\s`])make ([a-z]+)", piece):
                assert target in targets, f"{path.name}: make {target}"
            # `use rule * from hcep as ...` names a module
            for verb in re.findall(r"(?<!from)(?:^|[\s`])hcep ([a-z_]+)", piece):
                assert verb in STAGES, f"{path.name}: hcep {verb}"
            for profile in re.findall(r"--workflow-profile (\S+?)[\s`]", piece):
                assert (REPOSITORY / profile / "config.yaml").is_file(), f"{path.name}: {profile}"


def test_every_command_of_a_rule_is_a_verb_and_is_the_rules_name():
    for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        blocks = re.split(r"^(?:rule|checkpoint) (\w+):", path.read_text(), flags=re.MULTILINE)
        for name, body in zip(blocks[1::2], blocks[2::2], strict=True):
            # rules that a loop makes have names of their own
            verbs = re.findall(r'shell_command\("(\w+)"\)', re.split("^for ", body, flags=re.MULTILINE)[0])
            assert verbs == [name], f"{path.name}: rule {name} runs {verbs}"
            assert name in STAGES


def test_every_rule_logs_and_names_the_environment():
    for path in (REPOSITORY / "workflow" / "rules").glob("*.smk"):
        blocks = re.split(r"^(?:rule|checkpoint) (\w+):", path.read_text(), flags=re.MULTILINE)
        for name, body in zip(blocks[1::2], blocks[2::2], strict=True):
            assert f'"logs/{name}' in body, name
            assert "../envs/hcep.yaml" in body, name


def test_the_slurm_profile_asks_squeue_and_tries_again():
    profile = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())
    # where accounting is off sacct answers nothing, and Snakemake would wait for ever
    assert profile["slurm-status-command"] == "squeue" and profile["retries"] == 3
    assert {"runtime", "mem_mb"} <= set(profile["default-resources"])
    # with another number of threads the last bits of a model are others than on one machine
    assert "set-threads" not in profile


def test_no_document_puts_default_resources_on_a_command_line():
    # there they would take the place of the profile's list: 1000 MB and no time limit
    texts = {path: path.read_text() for where in ("", "docs/", "config/") for path in REPOSITORY.glob(f"{where}*.md")}
    texts |= {path: path.read_text() for path in REPOSITORY.glob("profiles/*/config.yaml")}
    assert [path.name for path, text in texts.items() if "--default-resources" in text] == []
    page = texts[REPOSITORY / "docs" / "cluster.md"]
    example = yaml.safe_load(re.search(r"( *)```yaml\n(.*?)```", page, re.DOTALL)[2])["default-resources"]
    profile = yaml.safe_load((REPOSITORY / "profiles" / "slurm" / "config.yaml").read_text())["default-resources"]
    assert example == profile | {"slurm_account": "NAME", "slurm_partition": "NAME"}
