# the paper's tables: `snakemake table5` runs what the table needs and no more


use rule aggregate as aggregate_table with:
    input:
        runs=of_table_runs("metrics.json", "replicates.h5", "scores.h5", "history.csv"),
        paper="config/paper_results.csv",
    output:
        runs="results/{task}/tables/{table}/runs.csv",
        summary="results/{task}/tables/{table}/summary.csv",
        comparisons="results/{task}/tables/{table}/comparisons.csv",
        corpora="results/{task}/tables/{table}/corpora.csv",
    log:
        "logs/aggregate_table/{task}/{table}.log",
    params:
        folders=table_runs,
        protocol=protocol_text,
        code=digest_of("evaluation.aggregate"),
    message:
        "runs of {wildcards.table} on {wildcards.task}"


use rule complexity as complexity_table with:
    input:
        encoder=encoder_info,
        paper="config/paper_results.csv",
        timings=of_table_runs("timing.json"),
    output:
        "results/{task}/tables/{table}/complexity.csv",
    log:
        "logs/complexity_table/{task}/{table}.log",
    params:
        settings=table_complexity_settings,
        known=known_counts,
        code=table_complexity_code,
    message:
        "parameters, operations and seconds of {wildcards.table} on {wildcards.task}"


rule table:
    input:
        summaries=table_summaries,
        complexity=table_complexity,
        paper="config/paper_results.csv",
    output:
        csv=report(
            "results/tables/{table}.csv",
            caption="../report/table.rst",
            category="The paper's tables",
            labels={"table": "{table}", "what": "cells"},
        ),
        markdown="results/tables/{table}.md",
    log:
        "logs/table/{table}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=table_settings,
        code=digest_of("evaluation.tables"),
    message:
        "{wildcards.table} of the paper"
    shell:
        "hcep table --name {wildcards.table} --settings {params.settings:q} --summaries {input.summaries:q}"
        " --complexity {input.complexity:q} --paper {input.paper:q} --output {output.csv:q}"
        " --markdown {output.markdown:q} 2> {log:q}"


use rule figure as figure_of_table with:
    input:
        "results/tables/{figure}.csv",
    output:
        report(
            "results/tables/{figure}.svg",
            caption="../report/table.rst",
            category="The paper's tables",
            labels={"table": "{figure}", "what": "picture"},
        ),
    log:
        "logs/figure_of_table/{figure}.log",
    wildcard_constraints:
        figure="|".join(sorted(registry.TABLE_FIGURES)),
    params:
        folders=table_figure_sources,
        title=table_task("mafw"),
        code=table_figure_code,
    message:
        "{wildcards.figure} of the paper"


for table_name in config["tables"]:

    rule:
        name:
            table_name
        input:
            table_target(table_name),
        localrule: True
