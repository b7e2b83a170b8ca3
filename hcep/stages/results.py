"""All runs of a task: tables, figures and pages."""

from __future__ import annotations

from pathlib import Path

from hcep.stages.entry import SETTINGS, Stage, names, reads, value, writes

PAPER = reads("paper", "paper_results.csv")

RESULTS: dict[str, Stage] = {
    "aggregate_posthoc": Stage(
        "hcep.evaluation.posthoc_summary:posthoc_summary",
        "Post-hoc scores of all runs of a task: means, and paired differences from each method's own score.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "CSV to write"),
        ),
    ),
    "page_of_posthoc": Stage(
        "hcep.figures.posthoc_page:write_posthoc_page",
        "The table of post-hoc scores as a page for the report.",
        (names("task"), reads("table", "posthoc.csv of the task"), writes("output", "HTML page to write")),
    ),
    "aggregate_unknowns": Stage(
        "hcep.evaluation.unknowns_summary:unknowns_summary",
        "Clusters of rejected clips in all runs of a task: how many, and how far they are the labels.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "CSV to write"),
        ),
    ),
    "page_of_unknowns": Stage(
        "hcep.figures.unknowns_page:write_unknowns_page",
        "The clips nearest to the middle of every cluster of rejected clips, as a page to look at.",
        (
            names("task"),
            reads("table", "unknowns.csv of the task"),
            value(
                "runs",
                "run folders, one a method, of one level, split and seed",
                Path,
                nargs="+",
                place="params.folders",
            ),
            reads("index", "index.h5 of every dataset of the task, beside its shards", nargs="+"),
            writes("output", "HTML page to write"),
        ),
    ),
    "aggregate_robustness": Stage(
        "hcep.evaluation.robustness_summary:robustness_summary",
        "Disturbed test clips of all runs of a task: means, and paired differences from the clean clips.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "CSV to write"),
        ),
    ),
    "page_of_robustness": Stage(
        "hcep.figures.robustness_page:write_robustness_page",
        "The table of disturbed test clips as a page for the report.",
        (names("task"), reads("table", "robustness.csv of the task"), writes("output", "HTML page to write")),
    ),
    "aggregate": Stage(
        "hcep.verbs.results:aggregate",
        "All runs of a task: runs.csv, summary.csv, comparisons.csv and corpora.csv.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            PAPER._replace(default=None),
            value("protocol", "what the task chose where the paper leaves a choice", default=""),
            value("references", "methods that all others are compared with", nargs="*", default=()),
            writes("runs-table", "CSV to write", "output.runs"),
            *(writes(name, "CSV to write") for name in ("summary", "comparisons", "corpora")),
        ),
        code=("hcep.evaluation.aggregate",),
    ),
    "versus_paper": Stage(
        "hcep.evaluation.versus_paper:versus_paper",
        "Our numbers beside the paper's, with the difference, whatever its sign.",
        (names("task"), reads("summary", "summary.csv"), PAPER, writes("output", "CSV to write")),
    ),
    "table": Stage(
        "hcep.verbs.results:table",
        "One of the paper's tables in its layout: our number, the printed one, the difference.",
        (
            value("name", "table2 ... table8, fig4 or headline", place="wildcards.table"),
            SETTINGS._replace(help="JSON text, or a file of it, with definition, stand_in_for, absent"),
            reads("summaries", "summary.csv of every task", nargs="+"),
            PAPER,
            reads("complexity", "complexity.csv, for Table 8", nargs="*", default=()),
            writes("output", "CSV to write", "output.csv"),
            writes("markdown", "Markdown to write"),
        ),
        code=("hcep.evaluation.tables",),
    ),
    "complexity": Stage(
        "hcep.verbs.results:complexity",
        "Learnable and frozen parameters and operations per clip (Table 8), counted without weights.",
        (
            reads("encoder", "encoder folder; without it CLIP ViT-B/32 and wav2vec2-base", default=None),
            value("known", "values of K", int, (8, 6, 4, 2), nargs="+"),
            SETTINGS._replace(default=None, help="frames, samples and methods"),
            PAPER._replace(default=None),
            reads("timings", "timing.json of runs", nargs="*", default=()),
            writes("output", "CSV to write; without it a table is printed")._replace(default=None),
        ),
        code=("hcep.training.complexity",),
    ),
    "figure": Stage(
        "hcep.verbs.results:figure",
        "Draw one figure of a task.",
        (
            value("name", "which figure", place="wildcards.figure"),
            value("task", "task that the title names", place="params.title"),
            value(
                "sources",
                "run folders, or a table of the task; for fig5 also index.h5",
                Path,
                nargs="+",
                place="params.folders",
            ),
            writes("output", "SVG to write; PDF, PNG and CSV of its data are written beside it"),
        ),
    ),
    "qc_page": Stage(
        "hcep.figures.qc_page:write_qc_page",
        "The quality-control page of a dataset.",
        (reads("qc", "qc.tsv of every dataset of the task", nargs="+"), writes("output", "HTML page to write")),
    ),
    "summary_page": Stage(
        "hcep.figures.summary_page:write_summary_page",
        "The summary table as a page for the report.",
        (
            names("task"),
            *(reads(name, f"{name}.csv") for name in ("summary", "comparisons")),
            writes("output", "HTML page to write"),
        ),
    ),
    "overview": Stage(
        "hcep.figures.overview:write_overview",
        "The first page of the report: question, headline numbers, differences, the protocol that was used.",
        (
            names("task"),
            *(reads(name, f"{name}.csv of the task") for name in ("summary", "comparisons", "complexity")),
            reads("forest", "SVG of the paired differences"),
            reads("splits", "split JSON of every level and split", nargs="+"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "HTML page to write"),
        ),
    ),
    "table_page": Stage(
        "hcep.figures.table_page:write_table_page",
        "Any CSV table of results as a page for the report.",
        (
            value("name", "what the table is called"),
            # an empty title is no word on the command line
            value("task", "task that the heading names", default="", nargs="?", place="params.title"),
            reads("table", "CSV file"),
            writes("output", "HTML page to write"),
        ),
    ),
    "costs_page": Stage(
        "hcep.figures.costs_page:write_costs_page",
        "Complexity and run times of a task's methods as a page for the report.",
        (
            names("task"),
            reads("complexity", "complexity.csv of the task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "HTML page to write"),
        ),
    ),
    "method_figures": Stage(
        "hcep.figures.method_figures:draw_method_figures",
        "Draw the figures of single methods: one SVG for every figure, openness and method.",
        (
            names("task"),
            value("runs", "run folders", Path, nargs="+", place="params.folders"),
            writes("output", "folder to write: FIGURE/OPENNESS/METHOD.svg"),
        ),
    ),
}
