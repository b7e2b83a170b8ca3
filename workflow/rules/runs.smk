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
        encoder=runs.encoder_folder,
        code=runs.code("tune"),
    message:
        "tune {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        shell_command("tune")


rule train:
    input:
        unpack(runs.inputs),
        features=runs.features,
        encoder=runs.encoder,
        tuned=runs.tuned_choice,
    output:
        model="results/{task}/{method}/{openness}/{split}/seed{seed}/model.safetensors",
        history="results/{task}/{method}/{openness}/{split}/seed{seed}/history.csv",
    log:
        "logs/train/{task}/{method}/{openness}/{split}/seed{seed}.log",
    benchmark:
        "logs/train/{task}/{method}/{openness}/{split}/seed{seed}.tsv"
    wildcard_constraints:
        task=runs.single_tasks(),
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=runs.gpus,
    params:
        settings=runs.settings,
        base=runs.base,
        encoder=runs.encoder_folder,
        code=runs.train_code,
    message:
        "train {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        shell_command("train")


rule score:
    input:
        unpack(runs.inputs),
        features=runs.features,
        encoder=runs.encoder,
        model="results/{task}/{method}/{openness}/{split}/seed{seed}/model.safetensors",
    output:
        scores="results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
        timing="results/{task}/{method}/{openness}/{split}/seed{seed}/timing.json",
    log:
        "logs/score/{task}/{method}/{openness}/{split}/seed{seed}.log",
    wildcard_constraints:
        task=runs.single_tasks(),
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=runs.gpus,
    params:
        base=runs.base,
        encoder=runs.encoder_folder,
        code=runs.code("score"),
    message:
        "score {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        shell_command("score")


rule evaluate:
    input:
        scores="results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
    output:
        metrics="results/{task}/{method}/{openness}/{split}/seed{seed}/metrics.json",
        curves="results/{task}/{method}/{openness}/{split}/seed{seed}/curves.csv",
        thresholds="results/{task}/{method}/{openness}/{split}/seed{seed}/thresholds.csv",
        replicates="results/{task}/{method}/{openness}/{split}/seed{seed}/replicates.h5",
    log:
        "logs/evaluate/{task}/{method}/{openness}/{split}/seed{seed}.log",
    wildcard_constraints:
        task=runs.single_tasks(),
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=EVALUATION,
        code=stage_digest("evaluate"),
    message:
        "evaluate {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        shell_command("evaluate")


rule posthoc:
    input:
        scores="results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
    output:
        output="results/{task}/{method}/{openness}/{split}/seed{seed}/posthoc.csv",
        replicates="results/{task}/{method}/{openness}/{split}/seed{seed}/posthoc.h5",
    log:
        "logs/posthoc/{task}/{method}/{openness}/{split}/seed{seed}.log",
    wildcard_constraints:
        task=runs.single_tasks(),
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
        encoder=runs.encoder_folder,
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
        encoder=runs.encoder,
    output:
        output=directory("results/{task}/{method}/{openness}/{split}/seed{seed}/model"),
    log:
        "logs/export/{task}/{method}/{openness}/{split}/seed{seed}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        run=runs.folder,
        base=runs.base,
        encoder=runs.encoder_folder,
        code=stage_digest("export"),
    message:
        "export {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        shell_command("export")


for series in runs.series():

    rule:
        name:
            f"series_{series.task}"
        input:
            split=series.splits,
            index=series.index,
            features=series.of_run(runs.features),
            encoder=series.of_run(runs.encoder),
        output:
            series.outputs,
        log:
            f"logs/series/{series.task}/{{method}}.log",
        benchmark:
            f"logs/series/{series.task}/{{method}}.tsv"
        wildcard_constraints:
            method="|".join(CONFIG.series_methods()),
        conda:
            "../../envs/hcep.yaml"
        threads: 1
        resources:
            gpu=series.of_run(runs.gpus),
        params:
            settings=series.of_run(runs.settings),
            evaluation=EVALUATION,
            posthoc=series.of_run(runs.posthoc_settings),
            base=series.of_run(runs.base),
            encoder=series.of_run(runs.encoder_folder),
            seeds=series.seeds,
            folders=series.folders,
            code=series.code,
        message:
            f"all runs of {{wildcards.method}} on {series.task}"
        shell:
            shell_command("series")
