"""Where the workflow lies and where Snakemake was started, looked at before anything else is read."""

import getpass
import os
import shlex
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

CONFIG_FILES = ("config/config.yaml", "config/tables.yaml")
# what rules read there when another Snakefile gives the configuration
MODULE_FILES = ("config/paper_results.csv",)
# of what Snakemake and every job write there
WRITTEN = (".snakemake", "logs")


def deploys_conda(workflow):
    """Whether jobs run in the environments that rules name."""
    return DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method


def check_module(modifier):
    """Refuse a module with another place for its files: a rule's parameters name files and folders as well."""
    paths = modifier.path_modifier
    if paths is not None and (paths.prefix or paths._prefix_replacements):
        raise HcepError(
            "prefix and replace_prefix move the inputs and outputs of rules and not the folders in their parameters",
            file="module",
            remedy="leave them out; `--directory FOLDER` puts all files of a run into another folder",
        )


def check_place(checkout, names):
    """Refuse a checkout whose path Snakemake cannot hold, and a working folder without the configuration."""
    if set(checkout) & set("{}"):
        raise HcepError(
            "the workflow lies below a folder with { or } in its name, which Snakemake reads as a wildcard",
            file=checkout,
            remedy="rename that folder, or move the workflow's folder to another place",
        )
    for name in names:
        if os.path.isfile(name):
            continue
        if not os.path.isdir(checkout):
            raise HcepError(
                f"there is no such file in the working folder {os.getcwd()}, where the workflow reads config/",
                file=name,
                remedy="copy the folder config/ of the workflow's release there",
            )
        if not os.path.isfile(f"{checkout}/{name}"):
            remedy = "get it back: git checkout config, or, where there is no git, `hcep deploy` into a new folder"
            raise HcepError("the file is missing", file=f"{checkout}/{name}", remedy=remedy)
        place, here = shlex.quote(checkout), shlex.quote(os.getcwd())
        remedy = f"to work in this one, `cp -r {place}/config {here}`"
        if not os.access(checkout, os.W_OK):
            remedy += f", then `chmod -R u+w {here}/config`"
        elif names == CONFIG_FILES:
            remedy = f"to work in the workflow's own folder, `cd {place}` or add `--directory {place}`; {remedy}"
        raise HcepError(
            f"there is no such file in the working folder {os.getcwd()}. The workflow reads config/ there, and writes "
            "resources/, results/, logs/ and work/ there",
            file=name,
            remedy=remedy,
        )


def check_writable(checkout):
    """Refuse a working folder that this user cannot write, where Snakemake ends with a traceback, also of a dry run."""
    for name in WRITTEN:
        path = name if os.path.exists(name) else "."
        if not os.access(path, os.W_OK):
            place = shlex.quote(checkout)
            raise HcepError(
                f"you (user {os.getuid()}) may not write there, but the workflow writes .snakemake/, resources/, results/,"
                " logs/ and work/ in the working folder",
                file=os.path.abspath(path),
                remedy="work in a folder of your own, FOLDER:"
                f" `mkdir FOLDER && cp -r {place}/config FOLDER && chmod -R u+w FOLDER`,"
                f" then `snakemake --snakefile {place}/Snakefile --directory FOLDER ...`",
            )


CHECKOUT = os.path.abspath(Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).parents[1])
# Snakemake asks for the user's name, which a container that runs under a bare number does not have
try:
    getpass.getuser()
except (KeyError, OSError):
    os.environ.update(LOGNAME=str(os.getuid()))
try:
    check_module(workflow.modifier)
    check_place(CHECKOUT, MODULE_FILES if workflow.modifier.skip_configfile else CONFIG_FILES)
    # these write nothing
    if not any(word.startswith(("--lint", "--list", "-l")) for word in sys.argv):
        check_writable(CHECKOUT)
except HcepError as error:
    raise WorkflowError(str(error))
