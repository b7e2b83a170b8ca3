# one run = task x method x openness x split x seed


rule make_split:
    input:
        manifest=of_datasets("manifest.tsv"),
        tasks=checks_of_tasks,
        classes=class_splits_file,
    output:
        "results/{task}/splits/{openness}/{split}.json",
    log:
        "logs/make_split/{task}/{openness}/{split}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=split_settings,
        code=digest_of("protocol.make_split"),
    message:
        "split {wildcards.split} of {wildcards.task} {wildcards.openness}"
    shell:
        "hcep make_split --task {wildcards.task} --openness {wildcards.openness} --split {wildcards.split}"
        " --manifest {input.manifest:q} --classes {input.classes:q} --settings {params.settings:q} --output {output:q}"
        " 2> {log:q}"


rule tune:
    input:
        unpack(run_inputs),
        features=run_features,
        encoder=run_encoder,
    output:
        "results/{task}/{method}/{openness}/{split}/seed{seed}/tuned.json",
    log:
        "logs/tune/{task}/{method}/{openness}/{split}/seed{seed}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=gpus,
    params:
        settings=settings_of_run,
        grid=grid_of,
        base=base_of,
        encoder=encoder_folder,
        code=tune_code,
    message:
        "tune {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        "hcep tune --method {wildcards.method} --base {params.base} --seed {wildcards.seed} --split {input.split:q}"
        " --index {input.index:q} --features {input.features:q} --encoder {params.encoder:q}"
        " --settings {params.settings:q} --grid {params.grid:q} --work work --output {output:q} 2> {log:q}"


rule train:
    input:
        unpack(run_inputs),
        features=run_features,
        encoder=run_encoder,
        tuned=tuned_choice,
    output:
        model="results/{task}/{method}/{openness}/{split}/seed{seed}/model.safetensors",
        history="results/{task}/{method}/{openness}/{split}/seed{seed}/history.csv",
    log:
        "logs/train/{task}/{method}/{openness}/{split}/seed{seed}.log",
    benchmark:
        "logs/train/{task}/{method}/{openness}/{split}/seed{seed}.tsv"
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=gpus,
    params:
        settings=settings_of_run,
        base=base_of,
        encoder=encoder_folder,
        code=train_code,
    message:
        "train {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        "hcep train --method {wildcards.method} --base {params.base} --seed {wildcards.seed} --split {input.split:q}"
        " --index {input.index:q} --features {input.features:q} --encoder {params.encoder:q}"
        " --settings {params.settings:q} --tuned {input.tuned:q} --work work --model {output.model:q}"
        " --history {output.history:q} 2> {log:q}"


rule score:
    input:
        unpack(run_inputs),
        features=run_features,
        encoder=run_encoder,
        model="results/{task}/{method}/{openness}/{split}/seed{seed}/model.safetensors",
    output:
        scores="results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
        timing="results/{task}/{method}/{openness}/{split}/seed{seed}/timing.json",
    log:
        "logs/score/{task}/{method}/{openness}/{split}/seed{seed}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=gpus,
    params:
        base=base_of,
        encoder=encoder_folder,
        code=score_code,
    message:
        "score {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        "hcep score --base {params.base} --split {input.split:q} --index {input.index:q} --features {input.features:q}"
        " --encoder {params.encoder:q} --model {input.model:q} --output {output.scores:q} --timing {output.timing:q}"
        " 2> {log:q}"


rule evaluate:
    input:
        "results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
    output:
        metrics="results/{task}/{method}/{openness}/{split}/seed{seed}/metrics.json",
        curves="results/{task}/{method}/{openness}/{split}/seed{seed}/curves.csv",
        thresholds="results/{task}/{method}/{openness}/{split}/seed{seed}/thresholds.csv",
        replicates="results/{task}/{method}/{openness}/{split}/seed{seed}/replicates.h5",
    log:
        "logs/evaluate/{task}/{method}/{openness}/{split}/seed{seed}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=settings_text(config["evaluation"]),
        code=digest_of("evaluation.evaluate"),
    message:
        "evaluate {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split} seed {wildcards.seed}"
    shell:
        "hcep evaluate --scores {input:q} --settings {params.settings:q} --metrics {output.metrics:q}"
        " --curves {output.curves:q} --thresholds {output.thresholds:q} --replicates {output.replicates:q} 2> {log:q}"


rule posthoc:
    input:
        "results/{task}/{method}/{openness}/{split}/seed{seed}/scores.h5",
    output:
        "results/{task}/{method}/{openness}/{split}/seed{seed}/posthoc.csv",
    log:
        "logs/posthoc/{task}/{method}/{openness}/{split}/seed{seed}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=settings_text(config["evaluation"]),
        code=digest_of("evaluation.posthoc"),
    message:
        "post-hoc scores of {wildcards.method} on {wildcards.task} {wildcards.openness} {wildcards.split}"
    shell:
        "hcep posthoc --scores {input:q} --settings {params.settings:q} --output {output:q} 2> {log:q}"
