"""What the rules share: paths, settings of one stage as one string, digests of code. No torch."""

import decimal
import difflib
import functools
import json
import os
import re
import sys
import zlib
from pathlib import Path

import jsonschema
import yaml

from hcep import registry
from hcep.datasets.manifest_file import read_manifest
from hcep.errors import HcepError, closest
from hcep.files import sha256_file
from hcep.media.shards import shard_names, shard_of
from hcep.protocol.class_splits import check_class_splits
from hcep.protocol.settings import (
    check_run,
    method_definition,
    run_settings,
    task_datasets,
    task_definition,
    tuning_grid,
)
from hcep.provenance import code_digest

# `hcep` of the environment that runs Snakemake, whether or not that environment is activated
os.environ.update(PATH=os.pathsep.join([str(Path(sys.executable).parent), *os.get_exec_path()]))

FIGURES = sorted(registry.FIGURES)
SCHEMA = workflow.source_path("../schemas/config.schema.yaml")


def settings_text(values):
    """Settings of one stage, sorted, as the text that the command line takes and that Snakemake compares."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def invalid_config(text):
    """What jsonschema says in a hundred lines, as one."""
    cause = re.search(r"ValidationError: (.*)", text)
    place = re.search(r"On instance(.*):\n", text)
    if not cause or not place:
        return text
    keys = ".".join(re.findall(r"\['?(.*?)'?\]", place[1]))
    remedy = "correct it; workflow/schemas/config.schema.yaml lists every key and what it may be"
    error = HcepError(cause[1], file="config", row=keys or None, remedy=config_hint(cause[1], keys) + remedy)
    return str(error)


def config_hint(cause, place):
    """What was probably meant at a place of the config, as the beginning of a remedy."""
    number = re.match(r"'([-+]?[0-9.]+(?:e[-+]?[0-9]+)?)' is not of type '(number|integer)'", cause, re.IGNORECASE)
    if number:
        return number_hint(number[1])
    unknown = re.search(r"\((.*) (was|were) unexpected\)", cause)
    if not unknown:
        return ""
    keys = set(schema_keys(config_schema()) if place else config_schema()["properties"])
    hints = []
    for name in re.findall(r"'(\w+)'", unknown[1]):
        near = closest(name, keys)
        if name in keys:
            hints.append(f"{name} belongs elsewhere")
        elif near:
            hints.append(f"did you mean {near!r}?")
    return "".join(f"{hint} or " for hint in hints)


def number_hint(text):
    """What to write in place of a number that was read as text; '' where it is none."""
    try:
        value = decimal.Decimal(text)
    except decimal.InvalidOperation:
        return ""
    if isinstance(yaml.safe_load(text), (int, float)):
        return (
            "a number in quotes, or in braces after --config, is text: write it bare, in a file for --configfile; or "
        )
    return f"YAML takes {text} for text: write {value:f}; or "


@functools.cache
def config_schema():
    return yaml.safe_load(Path(SCHEMA).read_text(encoding="utf-8"))


def schema_keys(node):
    """All keys that the schema names, at whatever place."""
    for name, value in node.items() if isinstance(node, dict) else ():
        if name == "properties":
            yield from value
        yield from schema_keys(value)


def check_names():
    """Names in the config that lead nowhere, before anything runs: Snakemake is silent where an old output exists."""
    for name, entry in config["datasets"].items():
        at_key(f"datasets.{name}", registry.dataset, entry["adapter"])
        adapter = registry.load(registry.dataset(entry["adapter"]))
        at_key(f"datasets.{name}", adapter, entry["root"], entry["options"] | {"text": entry["text"]})
    for name in config["methods"]:
        at_key(f"methods.{name}", method_known, name)
        at_key(f"methods.{name}.tune", tuned_values, name)
    labels = {label: name for name, task in config["task_definitions"].items() for label in task["labels"]}
    for label in config["words"]:
        # one of another task, whose definition was removed, does no harm
        if label not in labels and difflib.get_close_matches(label, labels, n=1, cutoff=0.85):
            at_key("words", registry.pick, "class", label, labels)
    for name in config["tasks"]:
        at_key("tasks", task_definition, config, name)
    for name, task in config["task_definitions"].items():
        place = f"task_definitions.{name}"
        for dataset in task_datasets(config, name):
            at_key(place, registry.pick, "dataset", dataset, config["datasets"])
        at_key(place, registry.pick, "encoder", task["encoder"], config["encoders"])
        if name in config["tasks"]:
            at_key(place, frames_fit_encoder, config, name)
        for method in task["methods"]:
            at_key(place, run_settings, config, name, method)
            if name in config["tasks"]:
                at_key(place, check_run, config, name, method)
        for method in task["method_settings"]:
            at_key(f"{place}.method_settings", registry.pick, "method", method, config["methods"])
        path = class_splits_of(name)
        if not os.path.isfile(path):
            raise HcepError(
                f"task {name!r} has no file of class splits",
                file=path,
                remedy=f"draw them once with `hcep draw_splits --task {name} --labels ... --openness ... --output {path}`"
                ", or set the task's class_splits",
            )
        check_class_splits(path, task["openness"], task["splits"], task["labels"])


def frames_fit_encoder(config, name):
    """Refuse a size of frames that the encoder does not take, where the encoder is there to be asked."""
    encoder = config["task_definitions"][name]["encoder"]
    folder = f"resources/encoders/{encoder}"
    if config["encoders"][encoder]["source"] == "package":
        folder = Path(registry.__file__).parent / "demo/weights"
    if not os.path.isfile(f"{folder}/encoder.json"):
        return
    side = json.loads(Path(f"{folder}/encoder.json").read_text(encoding="utf-8"))["clip"]["vision_cfg"]["image_size"]
    for dataset in task_datasets(config, name):
        size = config["datasets"][dataset]["size"]
        if size != side:
            raise HcepError(
                f"dataset {dataset} has frames of size {size}, encoder {encoder} takes {side}",
                remedy=f"set the dataset entry's size to {side}, or choose another encoder",
            )


def tuned_values(name):
    """Refuse values to try that their setting may not have."""
    grid = tuning_grid(config, name)
    for key in {"device", "selection"} & set(grid):
        raise HcepError(f"{key} cannot be tuned", remedy="give it one value; what is tuned is judged by accuracy")
    for key, values in grid.items():
        definitions = config_schema()["$defs"]
        place = {"$ref": f"#/$defs/settings/properties/{key}", "$defs": definitions}
        for value in values if key in definitions["settings"]["properties"] else ():
            for error in jsonschema.Draft202012Validator(place).iter_errors(value):
                raise HcepError(f"{key}: {error.message}", remedy=config_hint(error.message, key) + "correct it")


def method_known(name):
    registry.method(config["methods"][name]["base"])


def at_key(key, function, *arguments):
    """Call a function and say where in the config its error comes from."""
    try:
        function(*arguments)
    except HcepError as error:
        raise HcepError(error.cause, file="config", row=key, remedy=error.remedy) from error


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


def release_files(wildcards):
    """Files of a release that the manifest is made from and that a rule can make."""
    entry = dataset_of(wildcards)
    if entry["adapter"] != "manifest":
        return []
    path = f"{entry['root']}/{entry['options'].get('file', 'clips.tsv')}"
    # a missing table that no rule makes is left to `hcep manifest`, which says what to do about it
    return [path] if entry["root"].startswith("resources/") or os.path.isfile(path) else []


@functools.lru_cache(maxsize=None)
def clips_by_shard(path, stamp, shards):
    groups = {name: [] for name in shard_names(shards)}
    for clip in read_manifest(path):
        groups[shard_of(clip, shards)].append(clip)
    return groups


def clips_of(wildcards):
    path = checkpoints.manifest.get(dataset=wildcards.dataset).output[0]
    groups = clips_by_shard(path, os.stat(path).st_mtime_ns, dataset_of(wildcards)["shards"])
    if wildcards.shard not in groups:
        raise ValueError(f"{wildcards.dataset} has no shard {wildcards.shard}")
    return groups[wildcards.shard]


def media_files(column):
    """Input function: the shard's media files; a path that Snakemake cannot hold is left out and watched by nobody."""

    def read(wildcards):
        root = Path(dataset_root(wildcards))
        names = sorted({getattr(clip, column) for clip in clips_of(wildcards)} - {""})
        paths = [str(root / name) for name in names if not set(name) & set("{}\n\r")]
        return [path for path in paths if os.path.isfile(path)]

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
    files = media_files("audio")(wildcards)
    return files if dataset_of(wildcards)["text"] == "asr" else []


def transcribe_settings(wildcards):
    entry = dataset_of(wildcards)
    keys = ("text", "asr_model", "timeout") if entry["text"] == "asr" else ("text",)
    return settings_text({key: entry[key] for key in keys})


def shard_media(wildcards):
    kinds = ("frames", "audio", "text")
    return [ancient(f"resources/{wildcards.dataset}/{kind}/{wildcards.shard}.h5") for kind in kinds]


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
