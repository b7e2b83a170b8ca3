# what a reader sees: tables, figures, pages


rule aggregate:
    input:
        runs=runs.of_runs("metrics.json", "replicates.h5", "scores.h5", "history.csv"),
        paper=local("config/paper_results.csv"),
    output:
        runs=report(
            "results/{task}/runs.csv",
            caption="../report/runs.rst",
            category="Tables",
            subcategory="{task}",
            labels={"table": "runs", "to read": "no"},
        ),
        summary=report(
            "results/{task}/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            subcategory="{task}",
            labels={"table": "summary", "to read": "no"},
        ),
        comparisons=report(
            "results/{task}/comparisons.csv",
            caption="../report/comparisons.rst",
            category="Tables",
            subcategory="{task}",
            labels={"table": "comparisons", "to read": "no"},
        ),
        corpora=report(
            "results/{task}/corpora.csv",
            caption="../report/corpora.rst",
            category="Tables",
            subcategory="{task}",
            labels={"table": "corpora", "to read": "no"},
        ),
    log:
        "logs/aggregate/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=lambda wildcards, input: parents(input.runs),
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
            category="Tables",
            subcategory="{task}",
            labels={"table": "summary", "to read": "yes"},
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
        paper=local("config/paper_results.csv"),
    output:
        output=report(
            "results/{task}/versus_paper.csv",
            caption="../report/versus_paper.rst",
            category="Tables",
            subcategory="{task}",
            labels={"table": "beside the paper", "to read": "no"},
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
        paper=local("config/paper_results.csv"),
        timings=[],
    output:
        output=report(
            "results/{task}/complexity.csv",
            caption="../report/costs.rst",
            category="Complexity and run times",
            subcategory="{task}",
            labels={"table": "complexity", "to read": "no"},
        ),
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
            subcategory="{task}",
            labels=runs.figure_labels,
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


rule method_figures:
    input:
        runs=runs.of_runs("scores.h5", "thresholds.csv", "metrics.json"),
    output:
        output=report(
            directory("results/{task}/figures/methods"),
            patterns=["{figure}/{openness}/{method}.svg"],
            caption="../report/figure.rst",
            category="Figures of single methods",
            subcategory="{task}",
            labels={"figure": "{figure}", "method": "{method}", "openness": "{openness}"},
        ),
    log:
        "logs/method_figures/{task}.log",
    # makes a folder, see generate_demo
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=lambda wildcards, input: parents(input.runs),
        code=stage_digest("method_figures"),
    message:
        "figures of single methods on {wildcards.task}"
    shell:
        shell_command("method_figures")


rule costs_page:
    input:
        complexity="results/{task}/complexity.csv",
        runs=runs.of_runs("timing.json", "history.csv", "metrics.json"),
    output:
        output=report(
            "results/{task}/costs.html",
            caption="../report/costs.rst",
            category="Complexity and run times",
            subcategory="{task}",
            labels={"table": "complexity", "to read": "yes"},
        ),
    log:
        "logs/costs_page/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=lambda wildcards, input: parents(input.runs),
        code=stage_digest("costs_page"),
    message:
        "complexity and run times of {wildcards.task}"
    shell:
        shell_command("costs_page")


rule overview:
    input:
        summary="results/{task}/summary.csv",
        comparisons="results/{task}/comparisons.csv",
        complexity="results/{task}/complexity.csv",
        forest="results/{task}/figures/forest.svg",
        splits=runs.split_files,
        runs=runs.of_runs("scores.h5"),
    output:
        output=report(
            "results/{task}/overview.html",
            caption="../report/overview.rst",
            category="Overview",
            subcategory="{task}",
            labels={"task": "{task}"},
        ),
    log:
        "logs/overview/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=lambda wildcards, input: parents(input.runs),
        code=stage_digest("overview"),
    message:
        "first page of {wildcards.task}'s report"
    shell:
        shell_command("overview")


# tables that have no page of their own kind, as they are
for table_name, heading in (
    ("comparisons", "comparisons"),
    ("corpora", "corpora"),
    ("runs", "runs"),
    ("versus_paper", "beside the paper"),
):

    rule:
        name:
            f"{table_name}_page"
        input:
            table=f"results/{{task}}/{table_name}.csv",
        output:
            output=report(
                f"results/{{task}}/{table_name}.html",
                caption=f"../report/{table_name}.rst",
                category="Tables",
                subcategory="{task}",
                labels={"table": heading, "to read": "yes"},
            ),
        log:
            f"logs/{table_name}_page/{{task}}.log",
        localrule: True
        conda:
            "../../envs/hcep.yaml"
        params:
            name=table_name,
            title="{task}",
            code=stage_digest("table_page"),
        message:
            f"page of {table_name} of {{wildcards.task}}"
        shell:
            shell_command("table_page")


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
            subcategory="{task}",
            labels={"table": "post-hoc scores", "to read": "no"},
        ),
    log:
        "logs/aggregate_posthoc/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=lambda wildcards, input: parents(input.runs),
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
            subcategory="{task}",
            labels={"table": "post-hoc scores", "to read": "yes"},
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


# clusters of rejected clips: `snakemake unknowns_demo`


rule aggregate_unknowns:
    input:
        runs=runs.of_runs("unknowns.h5", "scores.h5"),
    output:
        output=report(
            "results/{task}/unknowns.csv",
            caption="../report/unknowns.rst",
            category="Rejected clips",
            subcategory="{task}",
            labels={"table": "rejected clips", "to read": "no"},
        ),
    log:
        "logs/aggregate_unknowns/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=lambda wildcards, input: parents(input.runs),
        code=stage_digest("aggregate_unknowns"),
    message:
        "clusters of rejected clips of {wildcards.task}"
    shell:
        shell_command("aggregate_unknowns")


rule page_of_unknowns:
    input:
        table="results/{task}/unknowns.csv",
        runs=runs.of_one_split("unknowns.csv", "unknowns.h5", "scores.h5"),
        index=runs.of_datasets("index.h5"),
        media=runs.media,
    output:
        output=report(
            "results/{task}/unknowns.html",
            caption="../report/unknowns.rst",
            category="Rejected clips",
            subcategory="{task}",
            labels={"table": "rejected clips", "to read": "yes"},
        ),
    log:
        "logs/page_of_unknowns/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=lambda wildcards, input: parents(input.runs),
        code=stage_digest("page_of_unknowns"),
    message:
        "page of rejected clips of {wildcards.task}"
    shell:
        shell_command("page_of_unknowns")


for task_name in CONFIG.task_definitions:

    rule:
        name:
            f"unknowns_{task_name}"
        input:
            f"results/{task_name}/unknowns.csv",
            f"results/{task_name}/unknowns.html",
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
            subcategory="{task}",
            labels={"table": "disturbed clips", "to read": "no"},
        ),
    log:
        "logs/aggregate_robustness/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=lambda wildcards, input: parents(input.runs),
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
            subcategory="{task}",
            labels={"table": "disturbed clips", "to read": "yes"},
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
