"""What only clusters with Slurm need; an optional part, the only one that imports Snakemake and its plugin."""
