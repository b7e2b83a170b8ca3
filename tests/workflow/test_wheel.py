"""A wheel alone is enough: it is built, installed without the checkout, and its workflow runs in an empty folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from workspace import REPOSITORY, read_outcome

pytestmark = pytest.mark.slow
ENCODER = "resources/encoders/demo/encoder.json"


def run(*command: object, folder: Path, **environment: str) -> str:
    """What a command says; the checkout is not on its path."""
    path = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "OMP_NUM_THREADS": "1"}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env=path | environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout, built from a copy of what belongs to it."""
    root = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("hcep", "workflow", "config", "profiles"):
        shutil.copytree(REPOSITORY / name, root / "source" / name, ignore=skip, symlinks=True)
    for name in ("Snakefile", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(REPOSITORY / name, root / "source")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--wheel-dir", root)
    run(sys.executable, "-m", "pip", "wheel", root / "source", *options, folder=root)
    (built,) = root.glob("hcep-*.whl")
    return built


def install(wheel: Path, folder: Path) -> Path:
    """The folder of the commands of an environment that has the wheel, and all else from that of the tests."""
    run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder.parent)
    own = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(own)
    # its own .pth files, as that of an editable hcep, are not read
    (own / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    for name, module in (("hcep", "hcep.cli"), ("snakemake", "snakemake.cli")):
        script = folder / "bin" / name
        script.write_text(f"#!{folder / 'bin/python'}\nimport sys\nfrom {module} import main\nsys.exit(main())\n")
        script.chmod(0o755)
    return folder / "bin"


def test_it_holds_every_file_of_the_workflow_once(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    parts = [path for name in ("workflow", "config", "profiles") for path in (REPOSITORY / name).rglob("*")]
    wanted = {f"hcep/layout/{path.relative_to(REPOSITORY)}" for path in parts if path.is_file()}
    held = {name for name in names if name.startswith("hcep/layout/")}
    # a configuration of one's own below config/ may lie in the checkout, hidden files and caches are left out
    assert held == {name for name in wanted if "/." not in name and "__pycache__" not in name} | {
        "hcep/layout/Snakefile"
    }


def test_it_is_deployed_and_runs_in_an_empty_folder(wheel, tmp_path):
    place = install(wheel, tmp_path / "venv")
    path = f"{place}:/usr/bin:/bin"
    where = run(place / "python", "-P", "-c", "import hcep; print(hcep.__file__)", folder=tmp_path, PATH=path)
    assert where.startswith(str(tmp_path / "venv"))
    said = run("hcep", "deploy", "mine", folder=tmp_path, PATH=path)
    assert wheel.name.split("-")[1] in said
    folder = tmp_path / "mine"
    plan = read_outcome(0, run("snakemake", "--cores", "2", "-n", folder=folder, PATH=path))
    assert "generate the demo clips" in plan.begun and "summary of demo" in plan.begun
    made = read_outcome(0, run("snakemake", "--cores", "2", ENCODER, folder=folder, PATH=path))
    assert made.finished == ["fetch encoder demo"] and (folder / ENCODER).is_file()
    assert "Nothing to be done" in run("snakemake", "--cores", "2", ENCODER, folder=folder, PATH=path)


def test_without_the_package_the_start_says_what_to_install(wheel, tmp_path):
    place = install(wheel, tmp_path / "venv")
    path = f"{place}:/usr/bin:/bin"
    run("hcep", "deploy", "mine", folder=tmp_path, PATH=path)
    shutil.rmtree(next((tmp_path / "venv").glob("lib/*/site-packages/hcep")))
    command = [str(place / "snakemake"), "--cores", "1", "-n"]
    environment = {"PATH": path, "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path / "mine", env=environment, capture_output=True, text=True, timeout=100)
    said = done.stdout + done.stderr
    assert done.returncode == 1 and "Traceback" not in said
    assert f"the Python of this Snakemake ({place / 'python'}) cannot: No module named 'hcep'" in said
    assert f"`{place / 'python'} -m pip install" in said and "docs/deploy.md" in said
