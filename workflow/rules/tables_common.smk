"""What the rules of the paper's tables share: which runs a table needs, of which task, and what it lacks."""


def table_definition(name):
    return registry.pick("table", name, config["tables"])


def table_task(task):
    """The task that stands in for a task of the paper (`table_tasks`)."""
    return config["table_tasks"].get(task, task)


def table_places(name):
    """Tasks of a table, ours, in order."""
    definition = table_definition(name)
    named = definition.get("tasks") or [os.path.dirname(place) for place in definition["columns"].values()]
    return list(dict.fromkeys(table_task(task) for task in named))


def table_methods(name):
    definition = table_definition(name)
    rows = [row["method"] for row in definition.get("rows", [])]
    return list(dict.fromkeys([*rows, *(definition[key] for key in ("method", "baseline") if key in definition)]))


def table_runs(wildcards):
    """Folders of the runs of one task that a table needs."""
    methods = [m for m in table_methods(wildcards.table) if not lacking_features(wildcards.task, m)]
    return run_folders(wildcards.task, methods)


def of_table_runs(*names):
    """Input function: these files of every run of one task that a table needs."""

    def read(wildcards):
        return [f"{run}/{name}" for run in table_runs(wildcards) for name in names]

    return read


def table_summaries(wildcards):
    return [f"results/{task}/tables/{wildcards.table}/summary.csv" for task in table_places(wildcards.table)]


def table_complexity(wildcards):
    if "costs" not in table_definition(wildcards.table):
        return []
    return [f"results/{task}/tables/{wildcards.table}/complexity.csv" for task in table_places(wildcards.table)]


def table_complexity_settings(wildcards):
    return settings_text(costs_of(wildcards.task, table_methods(wildcards.table)))


def table_complexity_code(wildcards):
    return costs_code(table_methods(wildcards.table))


def table_settings(wildcards):
    name = wildcards.table
    absent = {
        method: reason
        for method in table_methods(name)
        for task in table_places(name)
        if (reason := lacking_features(task, method))
    }
    stand_in = {task: other for task, other in config["table_tasks"].items() if task != other}
    # not sorted: the order of columns is part of a table
    return json.dumps({"definition": table_definition(name), "stand_in_for": stand_in, "absent": absent})


def table_target(name):
    files = [f"results/tables/{name}.csv", f"results/tables/{name}.md"]
    return files + ([f"results/tables/{name}.svg"] if name in registry.TABLE_FIGURES else [])


def table_figure_sources(wildcards):
    return [f"results/tables/{wildcards.figure}.csv"]


def table_figure_code(wildcards):
    return digest_of(registry.module_of(registry.TABLE_FIGURES[wildcards.figure]).removeprefix("hcep."))
