"""Where the workflow lies and where Snakemake was started, looked at before anything else is read."""

import os
import shlex
from pathlib import Path

from hcep.errors import HcepError

CONFIG_FILES = ("config/config.yaml", "config/tables.yaml")


def check_place(checkout):
    """Refuse a checkout whose path Snakemake cannot hold, and a working folder without the configuration."""
    if set(checkout) & set("{}"):
        raise HcepError(
            "the workflow lies below a folder with { or } in its name, which Snakemake reads as a wildcard",
            file=checkout,
            remedy="rename that folder, or move the workflow's folder to another place",
        )
    for name in CONFIG_FILES:
        if os.path.isfile(name):
            continue
        if not os.path.isfile(f"{checkout}/{name}"):
            raise HcepError("the file is missing", file=f"{checkout}/{name}", remedy="get it back: git checkout config")
        place = shlex.quote(checkout)
        raise HcepError(
            f"there is no such file in the working folder {os.getcwd()}. The workflow reads config/ there, and writes "
            "resources/, results/, logs/ and work/ there",
            file=name,
            remedy=f"to work in the workflow's own folder, `cd {place}` or add `--directory {place}`;"
            f" to work in this one, `cp -r {place}/config {shlex.quote(os.getcwd())}`",
        )


CHECKOUT = os.path.abspath(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1])
try:
    check_place(CHECKOUT)
except HcepError as error:
    raise WorkflowError(str(error))
