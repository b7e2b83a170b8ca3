"""What the rules of one run and of a task's results ask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from hcep import registry
from hcep.config.entries import OF_BOOTSTRAP, OF_DISTANCE, Task
from hcep.config.methods import Common, DistanceMM, Learning
from hcep.config.whole import Config
from hcep.planning.clips import KINDS, ClipPlan
from hcep.planning.engine import Wildcards, parents, settings_text, to_be_read
from hcep.protocol.openness import openness_value, parse_openness
from hcep.provenance import stage_digest

FOLDER = "results/{task}/{method}/{openness}/{split}/seed{seed}"
# what training, scoring and evaluating leave of a run
RUN_FILES = (
    *("model.safetensors", "history.csv", "scores.h5", "timing.json"),
    *("metrics.json", "curves.csv", "thresholds.csv", "replicates.h5"),
)
POSTHOC_FILES = ("posthoc.csv", "posthoc.h5")
TABLES = ("summary", "comparisons", "versus_paper", "runs", "corpora")
PAGES = (
    *(f"{name}.{ending}" for name in TABLES for ending in ("csv", "html")),
    *("complexity.csv", "costs.html", "qc.html", "overview.html", "figures/methods"),
)


class RunPlan:
    """Input and parameter functions of the rules from splits to results. A run is task, method, level, split, seed."""

    def __init__(self, config: Config, clips: ClipPlan) -> None:
        self.config, self.clips, self.engine = config, clips, clips.engine

    def task(self, wildcards: Wildcards) -> Task:
        """The task of a job."""
        return self.config.task(wildcards.task)

    def of_datasets(self, name: str) -> Callable[[Wildcards], list[str]]:
        """Input function: this file of every dataset of a task."""
        return lambda wildcards: [f"resources/{dataset}/{name}" for dataset in self.task(wildcards).dataset]

    def checks_of_tasks(self, wildcards: Wildcards) -> list[Any]:
        """The checks of the names of a task's datasets."""
        return [self.engine.ancient(path) for path in self.of_datasets("tasks.txt")(wildcards)]

    def class_splits(self, wildcards: Wildcards) -> Any:
        """The file of class splits."""
        return self.engine.local(self.config.class_splits(wildcards.task))

    def split_settings(self, wildcards: Wildcards) -> str:
        """Settings of `make_split`."""
        task = self.task(wildcards)
        own = {key: getattr(task, key) for key in ("val_fraction", "val_seed", "min_train")}
        return settings_text(self.config.names_of_task(wildcards.task) | own)

    def base(self, wildcards: Wildcards) -> str:
        """The base of a run's method."""
        return self.config.method(wildcards.method).base

    def entry(self, wildcards: Wildcards) -> type[Common]:
        """The settings of that base."""
        return self.config.base(wildcards.method)

    def settings(self, wildcards: Wildcards) -> str:
        """Settings of a run."""
        return settings_text(self.config.run_settings(wildcards.task, wildcards.method))

    def posthoc_settings(self, wildcards: Wildcards) -> str:
        """Settings of the post-hoc scores of a run: the bootstrap's, and those of `distance_mm` on this task."""
        given = self.config.training.given() | self.task(wildcards).training.given()
        distance = DistanceMM(**{name: given[name] for name in OF_DISTANCE if name in given})
        own = {name: getattr(distance, name) for name in OF_DISTANCE}
        return settings_text({name: getattr(self.config.evaluation, name) for name in OF_BOOTSTRAP} | own)

    def unknowns_settings(self, wildcards: Wildcards) -> str:
        """Settings of the clusters of rejected clips: the bootstrap's, and their own."""
        bootstrap = {name: getattr(self.config.evaluation, name) for name in OF_BOOTSTRAP}
        return settings_text(bootstrap | dict(self.config.unknowns))

    def robustness_settings(self, wildcards: Wildcards) -> str:
        """Settings of the disturbed test clips: the bootstrap's, and the levels."""
        own = {name: getattr(self.config.evaluation, name) for name in OF_BOOTSTRAP}
        return settings_text(own | self.config.robustness.model_dump())

    def robustness_inputs(self, wildcards: Wildcards) -> dict[str, Any]:
        """What scoring reads, and the media also of a method on cached features, whose clips are encoded again."""
        return self.inputs(wildcards) | {"media": self.media(wildcards)}

    def robustness_gpus(self, wildcards: Wildcards) -> int:
        """One accelerator also for a method on cached features, unless the setting says otherwise."""
        return int(self.config.run_settings(wildcards.task, wildcards.method)["device"] != "cpu")

    def grid(self, wildcards: Wildcards) -> str:
        """Settings that a run chooses from."""
        return settings_text(self.config.method(wildcards.method).tune)

    @staticmethod
    def folder(wildcards: Wildcards, method: str = "") -> str:
        """Folder of a run, or of the same run of another method."""
        names = ("task", "openness", "split", "seed")
        values = {name: getattr(wildcards, name) for name in names}
        return FOLDER.format(method=method or wildcards.method, **values)

    def tuned_choice(self, wildcards: Wildcards) -> list[str]:
        """What `tune` chose, for a method that is tuned."""
        return [f"{self.folder(wildcards)}/tuned.json"] if self.config.method(wildcards.method).tune else []

    def trained(self, wildcards: Wildcards) -> list[str]:
        """Model and history of the same run of a method before this one in the task whose steps are the same."""
        wanted = self.config.training_of(wildcards.task, wildcards.method)
        for other in self.task(wildcards).methods if wanted else ():
            if other == wildcards.method:
                break
            if self.config.training_of(wildcards.task, other) == wanted:
                folder = self.folder(wildcards, other)
                return [f"{folder}/model.safetensors", f"{folder}/history.csv"]
        return []

    def code(self, verb: str) -> Callable[[Wildcards], str]:
        """Params function: digest of a stage together with the method of the run."""
        return lambda wildcards: stage_digest(verb, *self.entry(wildcards).code())

    def run_code(self, wildcards: Wildcards) -> str:
        """Digest of training, scoring and evaluation, with the choice of an epoch on test clips where it is made."""
        on_test = self.config.run_settings(wildcards.task, wildcards.method).get("selection") == "best_on_test"
        more = ["hcep.evaluation.select"] if on_test else []
        more += ["hcep.evaluation.posthoc"] if self.task(wildcards).series else []
        return stage_digest("run", *self.entry(wildcards).code(), *more)

    def encoder_folder(self, wildcards: Wildcards) -> str:
        """Folder of the encoder of a run."""
        return f"resources/encoders/{self.config.encoder_of(wildcards.task, wildcards.method)}"

    def encoder_of_task(self, wildcards: Wildcards) -> str:
        """The encoder of a task, wanted once the clips of all its datasets are listed.

        A missing release is told then, not beside or after a download of a gigabyte.
        """
        self.clips.wait_for_manifests(self.task(wildcards).dataset)
        return f"resources/encoders/{self.task(wildcards).encoder}/encoder.json"

    def encoder(self, wildcards: Wildcards) -> str:
        """The encoder of a run, wanted as late as that of a task."""
        self.clips.wait_for_manifests(self.task(wildcards).dataset)
        path = f"{self.encoder_folder(wildcards)}/encoder.json"
        # the last that a run makes of its encoder or features
        to_be_read([path], f"{self.folder(wildcards)}/scores.h5", self.engine)
        return path

    def weights(self, wildcards: Wildcards) -> list[Any]:
        """The weights of that encoder, wanted as late."""
        self.clips.wait_for_manifests(self.task(wildcards).dataset)
        return self.clips.weights_of(self.config.encoder_of(wildcards.task, wildcards.method))

    def inputs(self, wildcards: Wildcards) -> dict[str, Any]:
        """What training and scoring read beside encoder and features: the split, the index, and media."""
        files: dict[str, Any] = {
            "split": f"results/{wildcards.task}/splits/{wildcards.openness}/{wildcards.split}.json",
            "index": self.of_datasets("index.h5")(wildcards),
            "media": self.media_of_run(wildcards),
        }
        return files

    def media_of_run(self, wildcards: Wildcards) -> list[Any]:
        """The shards that a run reads."""
        return (self.media if self.entry(wildcards).inputs == "media" else self.words)(wildcards)

    def words(self, wildcards: Wildcards) -> list[Any]:
        """The shards that say where the words of a task's clips came from, which scores and models tell."""
        return self.media(wildcards, ("text",))

    def media(self, wildcards: Wildcards, kinds: Sequence[str] = KINDS) -> list[Any]:
        """All shards of a task's datasets."""
        # the index holds their digests: a shard that was only touched is no reason to train again
        return [
            self.engine.ancient(path)
            for dataset in self.task(wildcards).dataset
            for kind in kinds
            for path in self.clips.shards_of(dataset, kind)
        ]

    def features(self, wildcards: Wildcards) -> list[str]:
        """Cached features of a method that reads them."""
        if self.entry(wildcards).inputs != "features":
            return []
        datasets = self.task(wildcards).dataset
        if len(datasets) > 1:
            # encoding the first would fetch the encoder while the release of another is still looked for
            self.clips.wait_for_manifests(datasets)
        encoder = self.config.encoder_of(wildcards.task, wildcards.method)
        return [path for name in datasets for path in self.clips.shards_of(name, f"features/{encoder}")]

    def gpus(self, wildcards: Wildcards) -> int:
        """One accelerator for a run that will use one: methods on features do so only when the setting names it."""
        device = self.config.run_settings(wildcards.task, wildcards.method)["device"]
        return int(device.startswith("cuda") or (device == "auto" and self.entry(wildcards).inputs == "media"))

    def folders_of(self, task: str, methods: Sequence[str]) -> list[str]:
        """Folders of the runs of these methods on a task, in the order of its config."""
        definition = self.config.task(task)
        return [
            FOLDER.format(task=task, method=method, openness=openness, split=split, seed=seed)
            for method in methods
            for openness in definition.openness
            for split in definition.splits
            for seed in definition.seeds
        ]

    def folders(self, wildcards: Wildcards) -> list[str]:
        """Folders of all runs of a task."""
        return self.folders_of(wildcards.task, self.task(wildcards).methods)

    def of_runs(self, *names: str) -> Callable[[Wildcards], list[str]]:
        """Input function: these files of every run of a task."""
        return lambda wildcards: [f"{run}/{name}" for run in self.folders(wildcards) for name in names]

    def tasks_without_series(self) -> str:
        """Tasks whose post-hoc scores are jobs of their own, as a constraint of a wildcard."""
        return "|".join(name for name, task in self.config.task_definitions.items() if not task.series) or "(?!)"

    def single_methods(self) -> str:
        """Methods whose runs are jobs of their own, as a constraint of a wildcard."""
        together = self.config.series_methods()
        return "|".join(name for name in self.config.methods if name not in together) or "(?!)"

    def series(self) -> list[Series]:
        """The rules whose jobs take all runs of a method on cached features: one for every task."""
        return [Series(self, name) for name in self.config.task_definitions]

    def references(self, wildcards: Wildcards) -> list[str]:
        """Methods that the others of a task are compared with."""
        return self.task(wildcards).references

    def protocol(self, wildcards: Wildcards) -> str:
        """What a task chose where the paper leaves a choice, in words for its summary."""
        task = self.task(wildcards)
        texts = []
        for name in task.dataset:
            entry = self.config.dataset(name)
            choices = [f"{key} {value}" for key, value in sorted(entry.options.items()) if not isinstance(value, list)]
            choices.append(f"words {entry.text}")
            texts.append(f"{name} ({', '.join(choices)})")
        folds: dict[str, list[str]] = {"test": task.test_folds, "training": task.train_folds or ["every other"]}
        folds |= {"validation": task.val_folds} if task.val_folds else {}
        texts += [f"{kind} folds {', '.join(names)}" for kind, names in folds.items()]
        if task.val_fraction:
            texts.append(f"held out {task.val_fraction:g} of the known training clips")
        if task.min_train > 1:
            texts.append(f"known classes with fewer than {task.min_train} training clips left out")
        return "; ".join(texts)

    def known_counts(self, wildcards: Wildcards) -> list[int]:
        """Numbers of known classes of a task's levels, largest first."""
        counts = {int(name[1:].partition("u")[0]) for name in self.task(wildcards).openness}
        return sorted(counts, reverse=True)

    def costs(self, task: str, methods: Sequence[str]) -> str:
        """What the counts of these methods depend on."""
        dataset = self.config.dataset(self.config.task(task).dataset[0])
        chosen: dict[str, dict[str, Any]] = {}
        for name in methods:
            settings = self.config.run_settings(task, name)
            # learning rate, epochs and the like change no count
            own = {key: value for key, value in settings.items() if key not in Learning.model_fields}
            chosen[name] = {"base": self.config.method(name).base, "settings": own}
            encoder = self.config.encoder_of(task, name)
            entry, usual = self.config.encoder(encoder), self.config.encoder(self.config.task(task).encoder)
            if entry.source == "import":
                chosen[name] |= {"encoder": encoder, "width": entry.width}
            elif entry.audio_layers != usual.audio_layers:
                chosen[name]["audio_layers"] = entry.audio_layers
        return settings_text({"frames": dataset.frames, "samples": dataset.samples, "methods": chosen})

    def costs_code(self, methods: Sequence[str]) -> str:
        """Digest of the counting, with these methods."""
        return stage_digest("complexity", *sorted({self.config.base(name).target for name in methods}))

    def complexity_settings(self, wildcards: Wildcards) -> str:
        """Settings of the counts of a task."""
        return self.costs(wildcards.task, self.task(wildcards).methods)

    def complexity_code(self, wildcards: Wildcards) -> str:
        """Digest of the counts of a task."""
        return self.costs_code(self.task(wildcards).methods)

    @staticmethod
    def figure_code(wildcards: Wildcards) -> str:
        """Digest of a figure."""
        return stage_digest("figure", registry.FIGURES[wildcards.figure].target)

    def figure_inputs(self, wildcards: Wildcards) -> list[Any]:
        """What a figure is drawn from."""
        entry = registry.FIGURES[wildcards.figure]
        if entry.of_task:
            return [f"results/{wildcards.task}/{name}" for name in entry.reads]
        files = [f"{run}/{name}" for run in self.figure_runs(wildcards) for name in entry.reads]
        return [*files, *self.figure_indexes(wildcards), *(self.media(wildcards) if entry.media else [])]

    def figure_runs(self, wildcards: Wildcards) -> list[str]:
        """Folders of the runs that a figure shows: all, or one a method."""
        return (self.one_split if registry.FIGURES[wildcards.figure].one_split else self.folders)(wildcards)

    def one_split(self, wildcards: Wildcards) -> list[str]:
        """Folders of one run a method: the most open level, its first split and seed."""
        task = self.task(wildcards)
        level = max(task.openness, key=lambda name: openness_value(*parse_openness(name)))
        place = f"/{level}/{task.splits[0]}/seed{task.seeds[0]}"
        return [run for run in self.folders(wildcards) if run.endswith(place)]

    def of_one_split(self, *names: str) -> Callable[[Wildcards], list[str]]:
        """Input function: these files of one run a method."""
        return lambda wildcards: [f"{run}/{name}" for run in self.one_split(wildcards) for name in names]

    def figure_indexes(self, wildcards: Wildcards) -> list[str]:
        """The indices of the clips that a figure shows."""
        return self.of_datasets("index.h5")(wildcards) if registry.FIGURES[wildcards.figure].media else []

    def figure_sources(self, wildcards: Wildcards, input: Sequence[str]) -> list[str]:
        """What the figure's command names: the tables of the task, or the run folders and what holds their clips."""
        entry = registry.FIGURES[wildcards.figure]
        if entry.of_task:
            return [*input]
        files = len(self.figure_runs(wildcards)) * len(entry.reads)
        return [*parents(input[:files]), *input[files:][: len(self.figure_indexes(wildcards))]]

    def qc_labels(self, wildcards: Wildcards) -> dict[str, str]:
        """Labels of the quality-control page in the report."""
        return {"dataset": ", ".join(self.task(wildcards).dataset), "to read": "yes"}

    @staticmethod
    def figure_labels(wildcards: Wildcards) -> dict[str, str]:
        """Labels of a figure in the report."""
        return {"figure": wildcards.figure, "shows": registry.FIGURES[wildcards.figure].shows}

    def split_files(self, wildcards: Wildcards) -> list[str]:
        """The split files of a task, level by level."""
        task = self.task(wildcards)
        places = [f"{openness}/{split}" for openness in task.openness for split in task.splits]
        return [f"results/{wildcards.task}/splits/{place}.json" for place in places]

    def all_targets(self, wildcards: Wildcards) -> list[str]:
        """Everything about the config's tasks."""
        names = [
            *PAGES,
            *(
                f"figures/{name}.{ending}"
                for name, entry in sorted(registry.FIGURES.items())
                if entry.by_default
                for ending in ("svg", "pdf", "png", "csv")
            ),
        ]
        for task in self.config.tasks:
            self.config.task(task)
        return [f"results/{task}/{name}" for task in self.config.tasks for name in names]


class Series:
    """Input and parameter functions of the rule that takes all runs of a method on one task.

    Only the method is a wildcard: the number of runs is that of the task, and Snakemake wants the same number of output
    files of every job of a rule.
    """

    def __init__(self, runs: RunPlan, task: str) -> None:
        self.runs, self.task = runs, task
        folders = runs.folders_of(task, ["{method}"])
        self.places = [folder.split("/")[3:] for folder in folders]
        more = POSTHOC_FILES if runs.config.task(task).series else ()
        self.outputs = [f"{folder}/{name}" for folder in folders for name in (*RUN_FILES, *more)]
        self.seeds = [int(seed.removeprefix("seed")) for *_, seed in self.places]

    def first(self, wildcards: Wildcards) -> Wildcards:
        """The first run of a method, to ask what all of them share."""
        openness, split, seed = self.places[0]
        number = seed.removeprefix("seed")
        return SimpleNamespace(task=self.task, method=wildcards.method, openness=openness, split=split, seed=number)

    def of_run(self, function: Callable[[Wildcards], Any]) -> Callable[[Wildcards], Any]:
        """The function of a single run, asked for the first one."""
        return lambda wildcards: function(self.first(wildcards))

    def splits(self, wildcards: Wildcards) -> list[str]:
        """The split file of every run."""
        return [f"results/{self.task}/splits/{openness}/{split}.json" for openness, split, _ in self.places]

    def index(self, wildcards: Wildcards) -> list[str]:
        """The indices of the task's datasets."""
        return self.runs.of_datasets("index.h5")(self.first(wildcards))

    def posthoc(self, wildcards: Wildcards) -> str:
        """Settings of the post-hoc scores, empty for a task whose post-hoc scores are jobs of their own."""
        first = self.first(wildcards)
        return self.runs.posthoc_settings(first) if self.runs.task(first).series else "{}"
