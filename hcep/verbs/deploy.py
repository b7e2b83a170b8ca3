"""The workflow of this package, laid out in a folder of one's own."""

from __future__ import annotations

import shlex
import shutil
from importlib.metadata import version
from pathlib import Path

from hcep.errors import HcepError
from hcep.files import atomic_folder, write_bytes, write_json
from hcep.provenance import DEPLOYED

# in a checkout links to the files themselves, in a wheel their copies
LAYOUT = Path(__file__).parents[1] / "layout"
FOLDERS = ("workflow", "config", "profiles")
SNAKEFILE = "Snakefile"


def deploy(dir: Path | None) -> None:
    """Copy Snakefile, workflow/, config/ and profiles/ into a folder that is new or empty, and say what to type next.

    Raises
    ------
    HcepError
        No folder is named, something is in it, or this installation does not hold the workflow.
    """
    if dir is None:
        raise HcepError("no folder is given", remedy="name one that is new or empty, as `hcep deploy mywork`")
    if dir.exists() and not dir.is_dir():
        raise HcepError("is a file, and no folder", file=dir, remedy="name a folder that is new or empty")
    if dir.is_dir() and (found := sorted(path.name for path in dir.iterdir())):
        raise HcepError(
            f"is not empty ({found[0]!r} is there), and nothing of yours is written over",
            file=dir,
            remedy="name a folder that is new or empty; to renew a workflow, deploy beside it and copy config/ over",
        )
    for name in (*FOLDERS, SNAKEFILE):
        if not (LAYOUT / name).exists():
            raise HcepError("this installation lacks a part of the workflow", file=LAYOUT / name, remedy="install anew")
    number = version("hcep")
    for name in FOLDERS:
        with atomic_folder(dir / name) as folder:
            _copy(LAYOUT / name, folder)
    write_json(dir / DEPLOYED, {"hcep": number})
    # last, so that nothing starts where a copy was cut short
    write_bytes(dir / SNAKEFILE, (LAYOUT / SNAKEFILE).read_bytes())
    print(f"the workflow of hcep {number} lies in {dir}: Snakefile, workflow/, config/ and profiles/. Next:")
    if dir.resolve() != Path.cwd():
        print(f"  cd {shlex.quote(str(dir))}")
    print("  snakemake --cores 2    # the demo, 200 generated clips; config/README.md says what can be set")


def _copy(source: Path, target: Path) -> None:
    """Every file below a folder, with the rights of umask: an installation may be read-only."""
    for path in sorted(source.rglob("*")):
        place = path.relative_to(source)
        if path.is_file() and not any(part.startswith((".", "__")) for part in place.parts):
            copy = target / place
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
