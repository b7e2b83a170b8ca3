"""The configuration, checked before anything runs, and the plans that the rules ask for inputs and settings."""

import os
import sys

from snakemake.io import IOFile

from hcep import registry
from hcep.claims import refuse_living
from hcep.config.whole import read_configs
from hcep.planning.checks import check_config
from hcep.planning.clips import ClipPlan, package_data
from hcep.planning.command_line import check_command_line
from hcep.planning.engine import Engine, explain_dates, parents, settings_text
from hcep.planning.runs import FOLDER, RUN_FILES, RunPlan
from hcep.planning.tables import TablePlan
from hcep.provenance import check_copies, remember_code, stage_digest
from hcep.stages import shell_command

# `hcep` of the environment that runs Snakemake, whether or not that environment is activated
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

try:
    if workflow.is_main_process:
        check_command_line(sys.argv[1:])
        # with conda a job runs the package of its rule's environment, which is made after this
        check_copies(Path(CHECKOUT), None if deploys_conda(workflow) else sys.executable)
        # Snakemake has read these files already, but keeps the last of two equal keys in silence
        read_configs([Path(path) for path in workflow.configfiles if str(path).endswith((".yaml", ".yml"))])
    CONFIG = Config.read(config)
    # a job somewhere else has no file that the checks look at, and needs none: they were made before it was sent
    if workflow.is_main_process:
        check_config(CONFIG)
except HcepError as error:
    raise WorkflowError(str(error))


def refuse_jobs_left_over():
    """End a start that would make a run beside a job of an earlier start."""
    try:
        refuse_living(Path(CONFIG.work))
    except HcepError as error:
        raise WorkflowError(str(error))


# captions of the report name them, defaults included
config["evaluation"] = dict(CONFIG.evaluation)
config["unknowns"] = dict(CONFIG.unknowns)


def manifest_of(dataset):
    """Path of a manifest that can be read here: Snakemake fetches what a storage provider holds when it is opened."""
    path = checkpoints.manifest.get(dataset=dataset).output[0]
    with path.open():
        return str(path)


def work_folder(wildcards, output):
    """Folder of resume states; as a function of the outputs it is no reason to run again."""
    return CONFIG.work


def recorded_params(path):
    """Parameters in Snakemake's record of a file; None without a record."""
    record = workflow.persistence.metadata(IOFile(path))
    return None if record is None else record.get("params") or []


STORES = workflow.storage_settings.default_storage_provider is not None
engine = Engine(
    manifest_of,
    ancient,
    workflow.is_main_process,
    local,
    STORES,
    recorded_params,
)
clips = ClipPlan(CONFIG, engine)
runs = RunPlan(CONFIG, clips)
tables = TablePlan(CONFIG, runs)
EVALUATION = settings_text(dict(CONFIG.evaluation))
