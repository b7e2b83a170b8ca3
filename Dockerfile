# The machine that Snakemake starts on and the pods of its jobs: docker build --tag hcep:0.2.0 .
FROM python:3.11-slim

# git: Snakemake asks it for the files of the workflow; gcc: Triton compiles kernels on a GPU
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc git libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 hcep

WORKDIR /opt/hcep
COPY requirements.lock ./
RUN pip install --no-cache-dir --requirement requirements.lock
# a step of its own: botocore wants python-dateutil 2, the lock has 4, and this one wins
RUN pip install --no-cache-dir snakemake-storage-plugin-s3==0.3.6 snakemake-executor-plugin-kubernetes==0.5.1 \
    && pip download --no-cache-dir --no-deps --dest /opt/wheels snakemake-storage-plugin-s3==0.3.6

COPY . ./
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable .

# in every pod Snakemake installs the storage plugin once more: from here, so that a pod needs no package index
ENV PIP_FIND_LINKS=/opt/wheels PIP_NO_INDEX=1 PIP_NO_DEPS=1
# a cluster gives the bits of one thread, as the workflow does elsewhere
ENV OMP_NUM_THREADS=1

USER hcep
WORKDIR /home/hcep
