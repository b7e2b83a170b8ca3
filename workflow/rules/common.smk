"""What the rules share: paths, settings of one stage as one string, digests of code. No torch."""

import functools
import json
import os
import re
import sys
import time
import zlib
from pathlib import Path

from hcep import registry
from hcep.datasets.manifest_file import read_manifest
from hcep.dates import date_remedy, refuse_future
from hcep.files import sha256_file
from hcep.media.shards import shard_names, shard_of
from hcep.protocol.settings import (
    method_definition,
    run_settings,
    task_datasets,
    task_definition,
    task_names,
    tuning_grid,
)
from hcep.provenance import code_digest

# `hcep` of the environment that runs Snakemake, whether or not that environment is activated
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

FIGURES = sorted(registry.FIGURES)


def settings_text(values):
    """Settings of one stage, sorted, as the text that the command line takes and that Snakemake compares."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def digest_of(*modules):
    return code_digest([f"hcep.{module}" for module in modules])


def dataset_of(wildcards):
    name = wildcards.dataset
    return registry.pick("dataset", name, config["datasets"])


def dataset_settings(*keys):
    """Params function: these keys of the dataset entry."""

    def read(wildcards):
        entry = dataset_of(wildcards)
        return settings_text({key: entry[key] for key in keys})

    return read


def dataset_root(wildcards):
    return dataset_of(wildcards)["root"]


def dataset_value(key):
    """Params function: one value of the dataset entry."""

    def read(wildcards):
        return dataset_of(wildcards)[key]

    return read


def adapter_code(wildcards):
    target = registry.dataset(dataset_of(wildcards)["adapter"])
    return digest_of("datasets.build", registry.module_of(target).removeprefix("hcep."))


def check_code(wildcards):
    target = registry.dataset(dataset_of(wildcards)["adapter"])
    return digest_of("datasets.check", registry.module_of(target).removeprefix("hcep."))


def expected_counts(wildcards):
    """The published counts of a dataset, where the config folder has them."""
    path = f"config/expected/{wildcards.dataset}.yaml"
    return [path] if os.path.isfile(path) else []


def adapter_watch(wildcards):
    """What lies in the release: a digest that changes when a label file or the list of media changes."""
    entry = dataset_of(wildcards)
    if release_files(wildcards):
        return "the table itself is an input"
    adapter = registry.load(registry.dataset(entry["adapter"]))
    root = Path(entry["root"])
    if not root.is_dir():
        return "no release"
    return zlib.crc32("\n".join(adapter(root, entry["options"]).watch()).encode())


def names_of_tasks(wildcards):
    """What every task over a dataset calls its classes and folds."""
    tasks = [name for name in config["task_definitions"] if wildcards.dataset in task_datasets(config, name)]
    return settings_text({name: task_names(config, name) for name in tasks})


def last_failed_check(wildcards):
    """Params function: when the check failed last; Snakemake takes it for done where it put the earlier file back."""
    path = f"logs/check_tasks/{wildcards.dataset}.failed.log"
    return os.stat(path).st_mtime_ns if os.path.isfile(path) else 0


def release_files(wildcards):
    """Files of a release that the manifest is made from and that a rule can make."""
    entry = dataset_of(wildcards)
    if entry["adapter"] != "manifest":
        return []
    path = f"{entry['root']}/{entry['options'].get('file', 'clips.tsv')}"
    # a missing table that no rule makes is left to `hcep manifest`, which says what to do about it
    return [path] if entry["root"].startswith("resources/") or os.path.isfile(path) else []


def manifest_files(wildcards):
    return to_be_read(release_files(wildcards), f"resources/{wildcards.dataset}/manifest.tsv")


def to_be_read(paths, output):
    """These inputs of a file; refused where it is still to be made and Snakemake would delete it for their dates."""
    # a job of a cluster was looked at where it was sent from; the clock of its node may be another
    if workflow.is_main_process and not os.path.exists(output):
        refuse_future(paths)
    return paths


def explain_dates(logs):
    """Say what to do where Snakemake deleted the output of a job for the date of an input."""
    texts = [Path(path).read_text(encoding="utf-8", errors="replace") for path in logs if os.path.isfile(path)]
    found = re.findall(r"has older modification time \(.*?\) than input (.*?) \(\d{4}-", "\n".join(texts))
    for path in dict.fromkeys(found):
        error = HcepError(
            "what was made from this file was deleted, because the file is dated in the future",
            file=path,
            remedy=date_remedy(path, time.time()),
        )
        print(error, file=sys.stderr)


@functools.lru_cache(maxsize=None)
def clips_by_shard(path, stamp, shards):
    groups = {name: [] for name in shard_names(shards)}
    for clip in read_manifest(path):
        groups[shard_of(clip, shards)].append(clip)
    return groups


def wait_for_manifests(datasets):
    """Leave the input function that calls this until these manifests are there.

    Asking the checkpoint costs a second look at every job that asks; where the file is there, so was the release.
    """
    for dataset in datasets:
        if not os.path.isfile(f"resources/{dataset}/manifest.tsv"):
            checkpoints.manifest.get(dataset=dataset)


def clips_of(wildcards):
    path = checkpoints.manifest.get(dataset=wildcards.dataset).output[0]
    groups = clips_by_shard(path, os.stat(path).st_mtime_ns, dataset_of(wildcards)["shards"])
    if wildcards.shard not in groups:
        raise ValueError(f"{wildcards.dataset} has no shard {wildcards.shard}")
    return groups[wildcards.shard]


def media_files(column, kind):
    """Input function: media files of a shard of this kind; a path that Snakemake cannot hold is watched by nobody."""

    def read(wildcards):
        root = Path(dataset_root(wildcards))
        names = sorted({getattr(clip, column) for clip in clips_of(wildcards)} - {""})
        paths = [str(root / name) for name in names if not set(name) & set("{}\n\r")]
        output = f"resources/{wildcards.dataset}/{kind}/{wildcards.shard}.h5"
        return to_be_read([path for path in paths if os.path.isfile(path)], output)

    return read


def shard_rows(*columns):
    """Params function: digest of what a shard's job reads from the manifest."""

    def read(wildcards):
        rows = [[getattr(clip, column) for column in ("clip", *columns)] for clip in clips_of(wildcards)]
        return zlib.crc32(json.dumps(rows).encode())

    return read


def all_shards(kind):
    """Input function: the files of one modality of a dataset, in order."""

    def read(wildcards):
        return [
            f"resources/{wildcards.dataset}/{kind}/{name}.h5" for name in shard_names(dataset_of(wildcards)["shards"])
        ]

    return read


def heard_files(wildcards):
    """Sound is an input of `transcribe` only when it is listened to; either way the manifest must be there first."""
    if dataset_of(wildcards)["text"] == "asr":
        return media_files("audio", "text")(wildcards)
    checkpoints.manifest.get(dataset=wildcards.dataset)
    return []


def transcribe_settings(wildcards):
    entry = dataset_of(wildcards)
    keys = ("text", "asr_model", "timeout") if entry["text"] == "asr" else ("text",)
    return settings_text({key: entry[key] for key in keys})


def shard_media(wildcards):
    kinds = ("frames", "audio", "text")
    return [ancient(f"resources/{wildcards.dataset}/{kind}/{wildcards.shard}.h5") for kind in kinds]


def shard_encoder(wildcards):
    """Input function: the encoder that encodes a shard, wanted once the clips are listed."""
    wait_for_manifests([wildcards.dataset])
    path = f"resources/encoders/{wildcards.encoder}/encoder.json"
    to_be_read([path], f"resources/{wildcards.dataset}/features/{wildcards.encoder}/{wildcards.shard}.h5")
    return path


def encode_settings(wildcards):
    values = {key: config["training"][key] for key in ("precision", "device")}
    if config["encoders"][wildcards.encoder]["source"] == "package":
        values["device"] = "cpu"
    return settings_text(values | {"batch_size": 16})


def encode_gpus(wildcards):
    return int(json.loads(encode_settings(wildcards))["device"] != "cpu")


def transcribe_gpus(wildcards):
    """Speech recognition takes an accelerator where there is one."""
    return int(dataset_of(wildcards)["text"] == "asr")


def package_data(name):
    """Digest of a data file of the package, which no digest of code covers."""
    path = Path(registry.__file__).parent / name
    return sha256_file(path) if path.is_file() else "none"


def package_weights(wildcards):
    """The weights that come with the package, for the encoder that is a copy of them."""
    source = registry.pick("encoder", wildcards.encoder, config["encoders"])["source"]
    return package_data("demo/weights/encoder.json") if source == "package" else "none"


def encoder_settings(wildcards):
    return settings_text(registry.pick("encoder", wildcards.encoder, config["encoders"]))
