# one run = task x method x openness x split x seed


rule make_split:
    input:
        manifest=runs.of_datasets("manifest.tsv"),
        tasks=runs.checks_of_tasks,
        classes=runs.class_splits,
    output:
        output="results/{task}/splits/{openness}/{split}.json",
    log:
        "logs/make_split/{task}/{openness}/{split}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=runs.split_settings,
        code=stage_digest("make_split"),
    message:
        "split {wildcards.split} of {wildcards.task} {wildcards.openness}"
    shell:
        shell_command("make_split")


rule tune:
    input:
        unpack(runs.inputs),
        features=runs.features,
        encoder=runs.encoder,
        weights=runs.weights,
    output:
        output="results/{task}/{method}/{openness}/{split}/seed{seed}/tuned.json",
    log:
        "logs/tune/{task}/{method}/{openness}/{split}/seed{seed}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=runs.gpus,
    params:
        settings=runs.settings,
        grid=runs.grid,
        base=runs.base,
        encoder=subpath(input.encoder, parent=True),
        work=work_folder,
        code=runs.code("tune"),
    message:
        "tune {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        shell_command("tune")


# Training, scoring and evaluation share a process, which takes over what an earlier job made of the same data, settings
# and code. Not by `update`: Snakemake 9.27 notes the new settings beside an old output that it puts back after a failure.
rule run:
    input:
        unpack(runs.inputs),
        features=runs.features,
        encoder=runs.encoder,
        weights=runs.weights,
        tuned=runs.tuned_choice,
        trained=runs.trained,
    output:
        [f"{FOLDER}/{name}" for name in RUN_FILES],
    log:
        "logs/run/{task}/{method}/{openness}/{split}/seed{seed}.log",
    benchmark:
        "logs/run/{task}/{method}/{openness}/{split}/seed{seed}.tsv"
    wildcard_constraints:
        method=runs.single_methods(),
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=runs.gpus,
    params:
        settings=runs.settings,
        evaluation=EVALUATION,
        posthoc=lambda wildcards: "{}",
        base=runs.base,
        encoder=subpath(input.encoder, parent=True),
        seeds="{seed}",
        folders=lambda wildcards, output: parents(output),
        work=work_folder,
        code=runs.run_code,
    message:
        "run {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        shell_command("run")


# Importing torch takes longer than a run on cached features, so one job takes all such runs of a method.
for series in runs.series():

    rule:
        name:
            f"runs_{series.task}"
        input:
            split=series.splits,
            index=series.index,
            media=series.of_run(runs.media_of_run),
            features=series.of_run(runs.features),
            encoder=series.of_run(runs.encoder),
            weights=series.of_run(runs.weights),
            tuned=[],
            trained=[],
        output:
            series.outputs,
        log:
            f"logs/runs/{series.task}/{{method}}.log",
        benchmark:
            f"logs/runs/{series.task}/{{method}}.tsv"
        wildcard_constraints:
            method="|".join(CONFIG.series_methods()) or "(?!)",
        conda:
            "../../envs/hcep.yaml"
        threads: 1
        resources:
            gpu=series.of_run(runs.gpus),
        params:
            settings=series.of_run(runs.settings),
            evaluation=EVALUATION,
            posthoc=series.posthoc,
            base=series.of_run(runs.base),
            encoder=subpath(input.encoder, parent=True),
            seeds=series.seeds,
            folders=lambda wildcards, output: parents(output),
            work=work_folder,
            code=series.of_run(runs.run_code),
        message:
            f"runs of {{wildcards.method}} on {series.task}"
        shell:
            shell_command("run")


rule posthoc:
    input:
        scores="results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
    output:
        output="results/{task}/{method}/{openness}/{split}/seed{seed}/posthoc.csv",
        replicates="results/{task}/{method}/{openness}/{split}/seed{seed}/posthoc.h5",
    log:
        "logs/posthoc/{task}/{method}/{openness}/{split}/seed{seed}.log",
    wildcard_constraints:
        task=runs.tasks_without_series(),
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=runs.posthoc_settings,
        code=stage_digest("posthoc"),
    message:
        "post-hoc scores of {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split}"
    shell:
        shell_command("posthoc")


rule unknowns:
    input:
        scores="results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
    output:
        output="results/{task}/{method}/{openness}/{split}/seed{seed}/unknowns.csv",
        report="results/{task}/{method}/{openness}/{split}/seed{seed}/unknowns.json",
        replicates="results/{task}/{method}/{openness}/{split}/seed{seed}/unknowns.h5",
    log:
        "logs/unknowns/{task}/{method}/{openness}/{split}/seed{seed}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=runs.unknowns_settings,
        code=stage_digest("unknowns"),
    message:
        "clusters of what {wildcards.method} rejects on {wildcards.task} {wildcards.openness} {wildcards.split}"
    shell:
        shell_command("unknowns")


rule robustness:
    input:
        unpack(runs.robustness_inputs),
        features=runs.features,
        encoder=runs.encoder,
        weights=runs.weights,
        model="results/{task}/{method}/{openness}/{split}/seed{seed}/model.safetensors",
        scores="results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
    output:
        output="results/{task}/{method}/{openness}/{split}/seed{seed}/robustness.csv",
        replicates="results/{task}/{method}/{openness}/{split}/seed{seed}/robustness.h5",
    log:
        "logs/robustness/{task}/{method}/{openness}/{split}/seed{seed}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=runs.robustness_gpus,
    params:
        settings=runs.robustness_settings,
        base=runs.base,
        encoder=subpath(input.encoder, parent=True),
        code=runs.code("robustness"),
    message:
        "disturbed clips of {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split}"
    shell:
        shell_command("robustness")


rule export:
    input:
        model="results/{task}/{method}/{openness}/{split}/seed{seed}/model.safetensors",
        scores="results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
        metrics="results/{task}/{method}/{openness}/{split}/seed{seed}/metrics.json",
        thresholds="results/{task}/{method}/{openness}/{split}/seed{seed}/thresholds.csv",
        index=runs.of_datasets("index.h5"),
        words=runs.words,
        encoder=runs.encoder,
    output:
        output=directory("results/{task}/{method}/{openness}/{split}/seed{seed}/model"),
    log:
        "logs/export/{task}/{method}/{openness}/{split}/seed{seed}.log",
    # makes a folder, see generate_demo
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        run=subpath(input.model, parent=True),
        base=runs.base,
        encoder=subpath(input.encoder, parent=True),
        code=stage_digest("export"),
    message:
        "export {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        shell_command("export")
