"""The whole configuration: its sections, how it is read, and what the workflow asks of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from hcep import registry
from hcep.config.base import Name, Settings
from hcep.config.entries import Dataset, Encoder, Evaluation, Method, Robustness, Task, Unknowns
from hcep.config.messages import LISTED, explain
from hcep.config.methods import SCORING, AudioLayers, Changes, Common, base_method, readable
from hcep.config.tables import Table
from hcep.errors import HcepError
from hcep.yaml_file import read_yaml


class Config(Settings):
    """Everything that decides a result. Which keys win where is explained in config/README.md."""

    tasks: list[str] = Field(
        [], description="tasks that plain `snakemake` builds in full; a named target may belong to any defined task"
    )
    datasets: dict[Name, Dataset] = Field({}, description="corpora on disk, see below")
    encoders: dict[Name, Encoder] = Field({}, description="frozen encoders, see below")
    words: dict[str, str] = Field(
        {},
        description='class name → the word in "This video is …" (section 3.4, Fig. 3); a class that is not listed '
        "stands for itself",
    )
    training: Changes = Field(Changes(), description="settings of every run, unless a task or a method changes them")
    methods: dict[Name, Method] = Field(
        {}, description="rows of the results: a `base` and the settings that it changes"
    )
    evaluation: Evaluation = Field(Evaluation(), description="bootstrap and thresholds")
    unknowns: Unknowns = Field(Unknowns(), description="clusters of rejected clips, see below")
    robustness: Robustness = Field(Robustness(), description="disturbances of `snakemake robustness_{task}`")
    tables: dict[Name, Table] = Field({}, description="the paper's tables, in `config/tables.yaml`")
    table_tasks: dict[str, str] = Field(
        {}, description="task of the paper → task that stands in for it in every table, as `{mafw: demo}`"
    )
    task_definitions: dict[Name, Task] = Field({}, description="what is compared on what")
    work: str = Field(
        "work",
        min_length=1,
        description="folder of what an interrupted training goes on from; where jobs share no working directory, one "
        "that all of them see",
    )

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Config:
        """A configuration from plain values.

        Raises
        ------
        HcepError
            On the first key or value that may not be there, with the place and what was probably meant.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise explain(error.errors(), cls, file="config") from error

    def task(self, name: str) -> Task:
        """The definition of a task."""
        return registry.pick("task", name, self.task_definitions)

    def dataset(self, name: str) -> Dataset:
        """A dataset entry."""
        return registry.pick("dataset", name, self.datasets)

    def encoder(self, name: str) -> Encoder:
        """An encoder entry."""
        return registry.pick("encoder", name, self.encoders)

    def method(self, name: str) -> Method:
        """A row of the results."""
        return registry.pick("method", name, self.methods)

    def table(self, name: str) -> Table:
        """A table of the paper."""
        return registry.pick("table", name, self.tables)

    def base(self, method: str) -> type[Common]:
        """The settings of the base of a method."""
        return base_method(self.method(method).base)

    def series_methods(self) -> list[str]:
        """Methods whose runs may share a job: on cached features, and without a choice of settings before them."""
        return [name for name, row in self.methods.items() if self.base(name).inputs == "features" and not row.tune]

    def class_splits(self, task: str) -> str:
        """The file of class splits of a task."""
        return self.task(task).class_splits or f"config/splits/{task}.yaml"

    def encoder_of(self, task: str, method: str) -> str:
        """The encoder of a method on a task: its own, or the task's.

        Raises
        ------
        HcepError
            When the weights of its audio layers are to be learned, and the method cannot.
        """
        name, base = self.method(method).encoder or self.task(task).encoder, self.base(method)
        if base.hears and not issubclass(base, AudioLayers) and self.encoder(name).audio_layers == "learned":
            raise HcepError(
                f"encoder {name} has audio_layers: learned, and {method} cannot learn their weights",
                file="config",
                remedy="set them to mean or to a list, as [6, 12], or leave the method out",
            )
        return name

    def features_file(self, dataset: str, encoder: str) -> str:
        """The file of features of an encoder with `source: import`."""
        return self.dataset(dataset).features_files.get(encoder, f"resources/{dataset}/{encoder}.h5")

    def run_settings(self, task: str, method: str) -> dict[str, Any]:
        """Exactly the settings that a run of this method on this task reads, sorted.

        They are the defaults of the base method, then `training`, then the task's `training`, then the method's own,
        then the task's for this method.

        Raises
        ------
        HcepError
            When a task or method changes a setting that the method does not read.
        """
        row, table = self.method(method), self.task(task)
        reads = readable(row.base)
        special = table.method_settings.get(method, Changes())
        own, last = row.changes(), special.given()
        for key in row.tune:
            if key not in reads:
                raise HcepError(
                    f"methods: {method} tunes {key!r}, which base {row.base!r} does not read",
                    file="config",
                    remedy=f"tune one of {', '.join(reads)}",
                )
        for place, values in ((f"methods: {method}", own), (f"{task}: method_settings: {method}", last)):
            for key in values:
                if key not in reads:
                    raise HcepError(
                        f"{place} sets {key!r}, which base {row.base!r} does not read",
                        file="config",
                        remedy=f"remove it; it reads {', '.join(reads)}",
                    )
        merged = self.training.given() | table.training.given() | own | last
        merged["words"] = {label: self.words.get(label, label) for label in table.labels}
        settings = base_method(row.base).model_validate({key: merged[key] for key in reads if key in merged})
        return {key: getattr(settings, key) for key in reads}

    def training_of(self, task: str, method: str) -> tuple[Any, ...] | None:
        """What decides the steps of a run of a method on media: equal ones need to be made only once.

        None for a method on cached features, whose runs take seconds, and for one whose epoch or rate is chosen by
        looking at scores.
        """
        row, base, settings = self.method(method), self.base(method), self.run_settings(task, method)
        if base.inputs == "features" or row.tune or settings["selection"] != "last":
            return None
        steps = {key: value for key, value in settings.items() if key not in SCORING}
        return vars(base).get("trained_as") or row.base, self.encoder_of(task, method), steps

    def names_of_task(self, task: str) -> dict[str, Any]:
        """What a task calls its classes and folds, as `make_split` and `check_tasks` read it."""
        table = self.task(task)
        keys = ("labels", "other_labels", "test_folds", "train_folds", "val_folds")
        words = {label: self.words[label] for label in table.labels if label in self.words}
        return {key: getattr(table, key) for key in keys} | {"words": words}


def check_value(model: type[Settings], setting: str, value: Any) -> Any:
    """The value of one setting of a model, which it must be allowed to have."""
    try:
        return TypeAdapter(model.model_fields[setting].rebuild_annotation()).validate_python(value, strict=True)
    except ValidationError as error:
        told = explain(error.errors(), model, file="config")
        place = f"{setting}.{told.row}" if told.row else setting
        remedy = (told.remedy or "").removesuffix(LISTED) + "correct it"
        raise HcepError(f"{place}: {told.cause}", remedy=remedy) from error


def read_config(paths: Sequence[Path]) -> Config:
    """The whole configuration of files that are laid over each other."""
    return Config.read(read_configs(paths))


def read_configs(paths: Sequence[Path]) -> dict[str, Any]:
    """Config files laid over each other, key by key, as Snakemake does."""
    config: dict[str, Any] = {}
    for path in paths:
        try:
            content = read_yaml(path) or {}
        except OSError as error:
            remedy = "run from the folder that holds config/config.yaml, or name the file with --configfile"
            raise HcepError(f"cannot be read: {error.strerror}", file=path, remedy=remedy) from error
        if not isinstance(content, dict):
            raise HcepError("is not a mapping of keys to settings", file=path, remedy="see config/config.yaml")
        config = _laid_over(config, content)
    return config


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: below[key] for key in below if isinstance(below[key], dict) and isinstance(above.get(key), dict)}
    return {**below, **above, **{key: _laid_over(value, above[key]) for key, value in both.items()}}


def entry_of(configs: Sequence[Path], section: str, kind: str, name: str, needed: Sequence[str]) -> Any:
    """An entry of a section of config files that are laid over each other; only its own keys are checked.

    It need not be whole: of the keys without a default only `needed` must be there.
    """
    values = read_configs(configs).get(section, {})
    try:
        entry = registry.pick(kind, name, values)
    except HcepError as error:
        remedy = f"name the file that has it with --configfile; {error.remedy}"
        raise HcepError(error.cause, file=", ".join(map(str, configs)), remedy=remedy) from error
    models: dict[str, type[Settings]] = {"datasets": Dataset, "task_definitions": Task}
    model = models[section]
    try:
        return model.model_validate(entry)
    except ValidationError as error:
        wrong = [one for one in error.errors() if one["type"] != "missing" or one["loc"][0] in needed]
        if wrong or not isinstance(entry, dict):
            raise explain(wrong, model, file=str(configs[-1]), prefix=(section, name)) from error
    return model.model_construct(**{key: check_value(model, key, value) for key, value in entry.items()})
