# the paper's tables: `snakemake table5` runs what the table needs and no more


use rule aggregate as aggregate_table with:
    input:
        runs=tables.of_runs("metrics.json", "replicates.h5", "scores.h5", "history.csv"),
        paper=local("config/paper_results.csv"),
    output:
        runs="results/{task}/tables/{table}/runs.csv",
        summary="results/{task}/tables/{table}/summary.csv",
        comparisons="results/{task}/tables/{table}/comparisons.csv",
        corpora="results/{task}/tables/{table}/corpora.csv",
    log:
        "logs/aggregate_table/{task}/{table}.log",
    params:
        folders=lambda wildcards, input: parents(input.runs),
        protocol=runs.protocol,
        references=runs.references,
        code=stage_digest("aggregate"),
    message:
        "runs of {wildcards.table} on {wildcards.task}"


use rule complexity as complexity_table with:
    input:
        encoder=runs.encoder_of_task,
        paper=local("config/paper_results.csv"),
        timings=tables.of_runs("timing.json"),
    output:
        output="results/{task}/tables/{table}/complexity.csv",
    log:
        "logs/complexity_table/{task}/{table}.log",
    params:
        settings=tables.complexity_settings,
        known=runs.known_counts,
        code=tables.complexity_code,
    message:
        "parameters, operations and seconds of {wildcards.table} on {wildcards.task}"


rule table:
    input:
        summaries=tables.summaries,
        complexity=tables.complexity,
        paper=local("config/paper_results.csv"),
    output:
        csv=report(
            "results/tables/{table}.csv",
            caption="../report/table.rst",
            category="The paper's tables",
            labels={"table": "{table}", "as": "CSV"},
        ),
        markdown="results/tables/{table}.md",
    log:
        "logs/table/{table}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=tables.settings,
        code=stage_digest("table"),
    message:
        "{wildcards.table} of the paper"
    shell:
        shell_command("table")


rule table_page:
    input:
        table="results/tables/{table}.csv",
    output:
        output=report(
            "results/tables/{table}.html",
            caption="../report/table.rst",
            category="The paper's tables",
            labels={"table": "{table}", "as": "page"},
        ),
    log:
        "logs/table_page/{table}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        name="{table}",
        title="",
        code=stage_digest("table_page"),
    message:
        "page of {wildcards.table} of the paper"
    shell:
        shell_command("table_page")


use rule figure as figure_of_table with:
    input:
        "results/tables/{figure}.csv",
    output:
        output=report(
            "results/tables/{figure}.svg",
            caption="../report/table.rst",
            category="The paper's tables",
            labels={"table": "{figure}", "as": "picture"},
        ),
        others=multiext("results/tables/{figure}", ".pdf", ".png"),
    log:
        "logs/figure_of_table/{figure}.log",
    wildcard_constraints:
        figure="|".join(sorted(registry.TABLE_FIGURES)),
    params:
        folders=lambda wildcards, input: [*input],
        title=tables.our_task("mafw"),
        code=tables.figure_code,
    message:
        "{wildcards.figure} of the paper"


for table_name in CONFIG.tables:

    rule:
        name:
            table_name
        input:
            tables.target(table_name),
        localrule: True
