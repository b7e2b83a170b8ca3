"""What the rules of one run and of its results share: inputs, settings and code of a task's runs."""


def task_of(wildcards):
    return task_definition(config, wildcards.task)


def of_datasets(name):
    """Input function: this file of every dataset of a task."""

    def read(wildcards):
        return [f"resources/{dataset}/{name}" for dataset in task_datasets(config, wildcards.task)]

    return read


def checks_of_tasks(wildcards):
    return [ancient(path) for path in of_datasets("tasks.txt")(wildcards)]


def class_splits_of(task):
    return task_definition(config, task).get("class_splits", f"config/splits/{task}.yaml")


def class_splits_file(wildcards):
    return class_splits_of(wildcards.task)


def split_settings(wildcards):
    task = task_of(wildcards)
    own = {key: task[key] for key in ("val_fraction", "val_seed", "min_train")}
    return settings_text(task_names(config, wildcards.task) | own)


def settings_of_run(wildcards):
    return settings_text(run_settings(config, wildcards.task, wildcards.method))


def method_entry(wildcards):
    return registry.method(base_of(wildcards))


def base_of(wildcards):
    return method_definition(config, wildcards.method)["base"]


def grid_of(wildcards):
    return settings_text(tuning_grid(config, wildcards.method))


def run_folder(wildcards):
    return f"results/{wildcards.task}/{wildcards.method}/{wildcards.openness}/{wildcards.split}/seed{wildcards.seed}"


def tuned_choice(wildcards):
    """Input function: what `tune` chose, for a method that is tuned."""
    return [f"{run_folder(wildcards)}/tuned.json"] if tuning_grid(config, wildcards.method) else []


def tune_code(wildcards):
    return digest_of("training.tune", registry.module_of(method_entry(wildcards).target).removeprefix("hcep."))


def train_code(wildcards):
    modules = [
        "training.train",
        registry.module_of(method_entry(wildcards).target).removeprefix("hcep."),
    ]
    if run_settings(config, wildcards.task, wildcards.method)["selection"] == "best_on_test":
        modules.append("evaluation.select")
    return digest_of(*modules)


def score_code(wildcards):
    return digest_of(
        "training.score",
        registry.module_of(method_entry(wildcards).target).removeprefix("hcep."),
    )


def encoder_folder(wildcards):
    return f"resources/encoders/{task_of(wildcards)['encoder']}"


def encoder_info(wildcards):
    """Input function: the encoder of a task, wanted once the clips of all its datasets are listed.

    A missing release is told then, not beside or after a download of a gigabyte.
    """
    wait_for_manifests(task_datasets(config, wildcards.task))
    return f"{encoder_folder(wildcards)}/encoder.json"


def run_encoder(wildcards):
    path = encoder_info(wildcards)
    # the last that a run makes of its encoder or features
    to_be_read([path], f"{run_folder(wildcards)}/scores.h5")
    return path


def run_inputs(wildcards):
    """What training and scoring read beside encoder and features: the split, the index, and media."""
    files = {
        "split": f"results/{wildcards.task}/splits/{wildcards.openness}/{wildcards.split}.json",
        "index": of_datasets("index.h5")(wildcards),
        "media": [],
    }
    if method_entry(wildcards).inputs == "features":
        return files
    for dataset in task_datasets(config, wildcards.task):
        base, names = f"resources/{dataset}", shard_names(config["datasets"][dataset]["shards"])
        # the index holds their digests: a shard that was only touched is no reason to train again
        kinds = ("frames", "audio", "text")
        files["media"] += [ancient(f"{base}/{kind}/{name}.h5") for kind in kinds for name in names]
    return files


def run_features(wildcards):
    """Input function: features that the user supplies, or that `encode` makes."""
    supplied = supplied_files(wildcards.task, wildcards.method)
    if supplied:
        return to_be_read(supplied, f"{run_folder(wildcards)}/scores.h5")
    if method_entry(wildcards).inputs != "features":
        return []
    datasets = task_datasets(config, wildcards.task)
    if len(datasets) > 1:
        # encoding the first would fetch the encoder while the release of another is still looked for
        wait_for_manifests(datasets)
    encoder = task_of(wildcards)["encoder"]
    shards = {name: shard_names(config["datasets"][name]["shards"]) for name in datasets}
    return [f"resources/{name}/features/{encoder}/{shard}.h5" for name in datasets for shard in shards[name]]


def gpus(wildcards):
    """One accelerator for a run that will use one: methods on features do so only when the setting names it."""
    device = run_settings(config, wildcards.task, wildcards.method)["device"]
    return int(device.startswith("cuda") or (device == "auto" and method_entry(wildcards).inputs == "media"))


def runs_of(wildcards):
    """Folders of all runs of a task, in the order of its config."""
    return run_folders(wildcards.task, task_of(wildcards)["methods"])


def run_folders(name, methods):
    """Folders of the runs of these methods on a task."""
    task = task_definition(config, name)
    return [
        f"results/{name}/{method}/{openness}/{split}/seed{seed}"
        for method in methods
        for openness in task["openness"]
        for split in task["splits"]
        for seed in task["seeds"]
    ]


def protocol_text(wildcards):
    """What a task chose where the paper leaves a choice, in words for its summary."""
    task = task_of(wildcards)
    texts = []
    for name in task_datasets(config, wildcards.task):
        entry = config["datasets"][name]
        choices = [f"{key} {value}" for key, value in sorted(entry["options"].items()) if not isinstance(value, list)]
        choices.append(f"words {entry['text']}")
        texts.append(f"{name} ({', '.join(choices)})")
    folds = {"test": task["test_folds"], "training": task["train_folds"] or ["every other"]}
    folds |= {"validation": task["val_folds"]} if task["val_folds"] else {}
    texts += [f"{kind} folds {', '.join(names)}" for kind, names in folds.items()]
    if task["val_fraction"]:
        texts.append(f"held out {task['val_fraction']:g} of the known training clips")
    if task["min_train"] > 1:
        texts.append(f"known classes with fewer than {task['min_train']} training clips left out")
    return "; ".join(texts)


def of_runs(*names):
    """Input function: these files of every run of a task."""

    def read(wildcards):
        return [f"{run}/{name}" for run in runs_of(wildcards) for name in names]

    return read


def known_counts(wildcards):
    counts = {int(name[1:].partition("u")[0]) for name in task_of(wildcards)["openness"]}
    return sorted(counts, reverse=True)


def complexity_settings(wildcards):
    return settings_text(costs_of(wildcards.task, task_of(wildcards)["methods"]))


def complexity_code(wildcards):
    return costs_code(task_of(wildcards)["methods"])


def costs_of(task, names):
    """What the counts of these methods depend on."""
    dataset = config["datasets"][task_datasets(config, task)[0]]
    methods = {}
    for name in names:
        base = method_definition(config, name)["base"]
        settings = run_settings(config, task, name)
        # learning rate, epochs and the like change no count
        own = {key: settings[key] for key in registry.method(base).settings}
        methods[name] = {"base": base, "settings": own}
    return {"frames": dataset["frames"], "samples": dataset["samples"], "methods": methods}


def costs_code(names):
    bases = {method_definition(config, name)["base"] for name in names}
    modules = [registry.module_of(registry.method(base).target).removeprefix("hcep.") for base in sorted(bases)]
    return digest_of("training.complexity", *modules)


def supplied_files(task, method):
    """Features files that the user supplies for a method, one per dataset of the task; empty for other methods."""
    encoder = registry.method(method_definition(config, method)["base"]).features_of
    if not encoder:
        return []
    entries = [(name, config["datasets"][name]) for name in task_datasets(config, task)]
    return [entry["features_files"].get(encoder, f"resources/{name}/{encoder}.h5") for name, entry in entries]


def lacking_features(task, method):
    """Why a method cannot run on a task, or ''."""
    return "" if all(os.path.isfile(path) for path in supplied_files(task, method)) else "features not found"


def figure_code(wildcards):
    return digest_of(registry.module_of(registry.FIGURES[wildcards.figure]).removeprefix("hcep."))


def figure_inputs(wildcards):
    """What a figure is drawn from."""
    files = {
        "curves": of_runs("curves.csv", "metrics.json"),
        "scores": of_runs("scores.h5"),
        "training": of_runs("history.csv"),
        "thresholds": of_runs("thresholds.csv", "metrics.json"),
    }
    if wildcards.figure == "summary_bars":
        return [f"results/{wildcards.task}/summary.csv"]
    return files[wildcards.figure](wildcards)


def figure_title(wildcards):
    return wildcards.task


def figure_sources(wildcards):
    """What the figure's command names: the run folders, or the summary."""
    return figure_inputs(wildcards) if wildcards.figure == "summary_bars" else runs_of(wildcards)


def qc_labels(wildcards):
    return {"dataset": ", ".join(task_datasets(config, wildcards.task)), "what": "page"}


def all_targets(wildcards):
    """Everything about the config's tasks."""
    names = [
        "summary.csv",
        "comparisons.csv",
        "versus_paper.csv",
        "complexity.csv",
        "summary.html",
        "qc.html",
    ]
    names += [f"figures/{figure}.svg" for figure in FIGURES]
    for task in config["tasks"]:
        task_definition(config, task)
    return [f"results/{task}/{name}" for task in config["tasks"] for name in names]
