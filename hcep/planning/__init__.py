"""What the rules of the workflow ask: inputs, settings as text, digests of code. No torch, and nothing of Snakemake."""
