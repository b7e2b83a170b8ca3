# what a reader sees: tables, figures, pages


rule aggregate:
    input:
        runs=runs.of_runs("metrics.json", "replicates.h5", "scores.h5", "history.csv"),
        paper="config/paper_results.csv",
    output:
        runs="results/{task}/runs.csv",
        summary=report(
            "results/{task}/summary.csv",
            caption="../report/summary.rst",
            category="Results",
            labels={"task": "{task}", "what": "summary"},
        ),
        comparisons=report(
            "results/{task}/comparisons.csv",
            caption="../report/comparisons.rst",
            category="Results",
            labels={"task": "{task}", "what": "comparisons"},
        ),
        corpora="results/{task}/corpora.csv",
    log:
        "logs/aggregate/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=runs.folders,
        protocol=runs.protocol,
        references=runs.references,
        code=stage_digest("aggregate"),
    message:
        "summary of {wildcards.task}"
    shell:
        shell_command("aggregate")


rule summary_page:
    input:
        summary="results/{task}/summary.csv",
        comparisons="results/{task}/comparisons.csv",
    output:
        output=report(
            "results/{task}/summary.html",
            caption="../report/summary.rst",
            category="Results",
            labels={"task": "{task}", "what": "summary, to read"},
        ),
    log:
        "logs/summary_page/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        code=stage_digest("summary_page"),
    message:
        "summary page of {wildcards.task}"
    shell:
        shell_command("summary_page")


rule versus_paper:
    input:
        summary="results/{task}/summary.csv",
        paper="config/paper_results.csv",
    output:
        output=report(
            "results/{task}/versus_paper.csv",
            caption="../report/versus_paper.rst",
            category="Results",
            labels={"task": "{task}", "what": "beside the paper"},
        ),
    log:
        "logs/versus_paper/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        code=stage_digest("versus_paper"),
    message:
        "{wildcards.task} beside the paper's numbers"
    shell:
        shell_command("versus_paper")


rule complexity:
    input:
        encoder=runs.encoder_of_task,
        paper="config/paper_results.csv",
        timings=[],
    output:
        output="results/{task}/complexity.csv",
    log:
        "logs/complexity/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=runs.complexity_settings,
        known=runs.known_counts,
        code=runs.complexity_code,
    message:
        "parameters and operations of {wildcards.task}'s methods"
    shell:
        shell_command("complexity")


rule figure:
    input:
        runs.figure_inputs,
    output:
        output=report(
            "results/{task}/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"task": "{task}", "what": "{figure}"},
        ),
        others=multiext("results/{task}/figures/{figure}", ".pdf", ".png", ".csv"),
    log:
        "logs/figure/{task}/{figure}.log",
    wildcard_constraints:
        figure="|".join(registry.FIGURES),
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=runs.figure_sources,
        title="{task}",
        code=runs.figure_code,
    message:
        "figure {wildcards.figure} of {wildcards.task}"
    shell:
        shell_command("figure")


# the paper's figures: `snakemake fig9` draws it for every task in `tasks`
for figure_name in registry.FIGURES:
    if figure_name.startswith("fig"):

        rule:
            name:
                figure_name
            input:
                [
                    f"results/{task}/figures/{figure_name}.{ending}"
                    for task in CONFIG.tasks
                    for ending in ("svg", "pdf", "png", "csv")
                ],
            localrule: True


rule qc_page:
    input:
        qc=runs.of_datasets("qc.tsv"),
    output:
        output=report(
            "results/{task}/qc.html",
            caption="../report/qc.rst",
            category="Quality control",
            labels=runs.qc_labels,
        ),
    log:
        "logs/qc_page/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        code=stage_digest("qc_page"),
    message:
        "quality control page of {wildcards.task}"
    shell:
        shell_command("qc_page")


# other scores of the same runs: `snakemake posthoc_demo`


rule aggregate_posthoc:
    input:
        runs=runs.of_runs("posthoc.h5", "scores.h5"),
    output:
        output=report(
            "results/{task}/posthoc.csv",
            caption="../report/posthoc.rst",
            category="Post-hoc scores",
            labels={"task": "{task}", "what": "means and differences"},
        ),
    log:
        "logs/aggregate_posthoc/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=runs.folders,
        code=stage_digest("aggregate_posthoc"),
    message:
        "post-hoc scores of {wildcards.task}"
    shell:
        shell_command("aggregate_posthoc")


rule page_of_posthoc:
    input:
        table="results/{task}/posthoc.csv",
    output:
        output=report(
            "results/{task}/posthoc.html",
            caption="../report/posthoc.rst",
            category="Post-hoc scores",
            labels={"task": "{task}", "what": "to read"},
        ),
    log:
        "logs/page_of_posthoc/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        code=stage_digest("page_of_posthoc"),
    message:
        "page of post-hoc scores of {wildcards.task}"
    shell:
        shell_command("page_of_posthoc")


for task_name in CONFIG.task_definitions:

    rule:
        name:
            f"posthoc_{task_name}"
        input:
            f"results/{task_name}/posthoc.csv",
            f"results/{task_name}/posthoc.html",
            f"results/{task_name}/figures/posthoc.svg",
        localrule: True


# the same runs on disturbed test clips: `snakemake robustness_demo`


rule aggregate_robustness:
    input:
        runs=runs.of_runs("robustness.h5", "scores.h5"),
    output:
        output=report(
            "results/{task}/robustness.csv",
            caption="../report/robustness.rst",
            category="Robustness",
            labels={"task": "{task}", "what": "means and differences"},
        ),
    log:
        "logs/aggregate_robustness/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=runs.folders,
        code=stage_digest("aggregate_robustness"),
    message:
        "disturbed clips of {wildcards.task}"
    shell:
        shell_command("aggregate_robustness")


rule page_of_robustness:
    input:
        table="results/{task}/robustness.csv",
    output:
        output=report(
            "results/{task}/robustness.html",
            caption="../report/robustness.rst",
            category="Robustness",
            labels={"task": "{task}", "what": "to read"},
        ),
    log:
        "logs/page_of_robustness/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        code=stage_digest("page_of_robustness"),
    message:
        "page of disturbed clips of {wildcards.task}"
    shell:
        shell_command("page_of_robustness")


for task_name in CONFIG.task_definitions:

    rule:
        name:
            f"robustness_{task_name}"
        input:
            f"results/{task_name}/robustness.csv",
            f"results/{task_name}/robustness.html",
            f"results/{task_name}/figures/robustness.svg",
        localrule: True
