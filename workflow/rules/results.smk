# what a reader sees: tables, figures, pages


rule aggregate:
    input:
        runs=of_runs("metrics.json", "replicates.h5", "scores.h5", "history.csv"),
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
        folders=runs_of,
        protocol=protocol_text,
        code=digest_of("evaluation.aggregate"),
    message:
        "summary of {wildcards.task}"
    shell:
        "hcep aggregate --task {wildcards.task} --runs {params.folders:q} --paper {input.paper:q}"
        " --protocol {params.protocol:q} --runs-table {output.runs:q} --summary {output.summary:q}"
        " --comparisons {output.comparisons:q} --corpora {output.corpora:q} 2> {log:q}"


rule summary_page:
    input:
        "results/{task}/summary.csv",
    output:
        report(
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
        code=digest_of("figures.summary_page"),
    message:
        "summary page of {wildcards.task}"
    shell:
        "hcep summary_page --task {wildcards.task} --summary {input:q} --output {output:q} 2> {log:q}"


rule versus_paper:
    input:
        summary="results/{task}/summary.csv",
        paper="config/paper_results.csv",
    output:
        report(
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
        code=digest_of("evaluation.versus_paper"),
    message:
        "{wildcards.task} beside the paper's numbers"
    shell:
        "hcep versus_paper --task {wildcards.task} --summary {input.summary:q} --paper {input.paper:q}"
        " --output {output:q} 2> {log:q}"


rule complexity:
    input:
        encoder=encoder_info,
        paper="config/paper_results.csv",
        timings=[],
    output:
        "results/{task}/complexity.csv",
    log:
        "logs/complexity/{task}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=complexity_settings,
        known=known_counts,
        code=complexity_code,
    message:
        "parameters and operations of {wildcards.task}'s methods"
    shell:
        "hcep complexity --encoder {input.encoder:q} --settings {params.settings:q} --known {params.known}"
        " --paper {input.paper:q} --timings {input.timings:q} --output {output:q} 2> {log:q}"


rule figure:
    input:
        figure_inputs,
    output:
        report(
            "results/{task}/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"task": "{task}", "what": "{figure}"},
        ),
    log:
        "logs/figure/{task}/{figure}.log",
    wildcard_constraints:
        figure="|".join(FIGURES),
    conda:
        "../../envs/hcep.yaml"
    params:
        folders=figure_sources,
        title=figure_title,
        code=figure_code,
    message:
        "figure {wildcards.figure} of {wildcards.task}"
    shell:
        "hcep figure --name {wildcards.figure} --task {params.title:q} --sources {params.folders:q} --output {output:q}"
        " 2> {log:q}"


rule qc_page:
    input:
        qc=of_datasets("qc.tsv"),
    output:
        report(
            "results/{task}/qc.html",
            caption="../report/qc.rst",
            category="Quality control",
            labels=qc_labels,
        ),
    log:
        "logs/qc_page/{task}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        code=digest_of("figures.qc_page"),
    message:
        "quality control page of {wildcards.task}"
    shell:
        "hcep qc_page --qc {input.qc:q} --output {output:q} 2> {log:q}"
