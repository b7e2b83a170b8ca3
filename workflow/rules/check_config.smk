"""Mistakes in the configuration, found and explained before anything runs."""

import decimal
import difflib
import re

import jsonschema
import yaml

from hcep.errors import HcepError, closest, not_text
from hcep.protocol.class_splits import check_class_splits
from hcep.protocol.openness import parse_openness
from hcep.protocol.settings import check_run

SCHEMA = workflow.source_path("../schemas/config.schema.yaml")


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
    name = re.match(r"(True|False|None|[-+0-9.e]+) is not of type 'string'", cause)
    if name:
        return f"{not_text(yaml.safe_load(name[1].replace('None', 'null')))}; or "
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
        for path in (entry["root"], str(entry["options"].get("file", "")), *entry["features_files"].values()):
            at_key(f"datasets.{name}", no_wildcard, path)
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
        both = sorted({*task["labels"]} & {*task["other_labels"]})
        if both:
            cause = f"{both[0]!r} is in labels and in other_labels"
            raise HcepError(cause, file="config", row=place, remedy="keep it in one of them")
        for openness in task["openness"]:
            at_key(f"{place}.openness", parse_openness, openness)
        for method in task["methods"]:
            at_key(place, run_settings, config, name, method)
            if name in config["tasks"]:
                at_key(place, check_run, config, name, method)
        for method in task["method_settings"]:
            at_key(f"{place}.method_settings", registry.pick, "method", method, config["methods"])
        path = class_splits_of(name)
        at_key(f"{place}.class_splits", no_wildcard, path)
        if not os.path.isfile(path):
            raise HcepError(
                f"task {name!r} has no file of class splits",
                file=path,
                remedy=f"draw them once with `hcep draw_splits --task {name} --labels ... --openness ... --output {path}`"
                ", or set the task's class_splits",
            )
        check_class_splits(path, task["openness"], task["splits"], task["labels"])


def no_wildcard(path):
    """Refuse a path of the config that is to be an input of a rule and that Snakemake would read as a pattern."""
    if re.search(r"\{.*\}", path, re.DOTALL):
        raise HcepError(
            f"the path {path!r} has {{ and }} in it, which Snakemake reads as a wildcard",
            remedy="rename it, or lay a link to it whose path has none",
        )


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
