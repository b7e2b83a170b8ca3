# clips -> manifest -> shards of frames, sound and words -> index


checkpoint manifest:
    input:
        manifest_files,
    output:
        "resources/{dataset}/manifest.tsv",
    log:
        "logs/manifest/{dataset}.log",
    # before the decoding of another dataset: a missing release is told at once
    priority: 1
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=dataset_settings("adapter", "options", "text"),
        root=dataset_root,
        watch=adapter_watch,
        code=adapter_code,
    message:
        "list the clips of {wildcards.dataset}"
    shell:
        "hcep manifest --dataset {wildcards.dataset} --root {params.root:q} --settings {params.settings:q}"
        " --output {output:q} 2> {log:q}"


rule check:
    input:
        expected=expected_counts,
    output:
        "resources/{dataset}/check.txt",
    log:
        "logs/check/{dataset}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=dataset_settings("adapter", "options", "text", "max_failures"),
        root=dataset_root,
        watch=adapter_watch,
        code=check_code,
    message:
        "check the release of {wildcards.dataset}"
    shell:
        "hcep check {wildcards.dataset} --root {params.root:q} --settings {params.settings:q}"
        " --expected {input.expected:q} --output {output:q} 2> {log:q}"


# Shards and splits wait for it, and do not follow it: as an `ancient` input it is no reason to make them again. It is a
# checkpoint because Snakemake does not look for other reasons behind a job that is to run, and looks again after one.
checkpoint check_tasks:
    input:
        "resources/{dataset}/manifest.tsv",
    output:
        # an earlier one stays when the check fails: were it removed, the shards would be decoded again
        update("resources/{dataset}/tasks.txt"),
    log:
        "logs/check_tasks/{dataset}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=names_of_tasks,
        code=digest_of("protocol.check_tasks"),
        failed=last_failed_check,
    message:
        "labels and folds of {wildcards.dataset} against the tasks"
    shell:
        "hcep check_tasks --manifest {input:q} --settings {params.settings:q} --output {output:q} 2> {log:q}"
        " || {{ cp {log:q} logs/check_tasks/{wildcards.dataset}.failed.log; exit 1; }}"


rule decode_frames:
    input:
        media_files("video", "frames"),
        tasks=ancient("resources/{dataset}/tasks.txt"),
    output:
        "resources/{dataset}/frames/{shard}.h5",
    log:
        "logs/decode_frames/{dataset}/{shard}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=dataset_settings("frames", "size", "frame_sampling", "timeout"),
        rows=shard_rows("video", "start", "end", "box", "flags"),
        root=dataset_root,
        code=digest_of("media.frames"),
    message:
        "decode frames of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "hcep decode_frames --manifest resources/{wildcards.dataset}/manifest.tsv --root {params.root:q}"
        " --shard {wildcards.shard} --threads {threads} --settings {params.settings:q} --output {output:q} 2> {log:q}"


rule decode_audio:
    input:
        media_files("audio", "audio"),
        tasks=ancient("resources/{dataset}/tasks.txt"),
    output:
        "resources/{dataset}/audio/{shard}.h5",
    log:
        "logs/decode_audio/{dataset}/{shard}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=dataset_settings("samples", "audio_window", "timeout"),
        rows=shard_rows("audio", "start", "end", "flags"),
        root=dataset_root,
        code=digest_of("media.audio"),
    message:
        "decode sound of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "hcep decode_audio --manifest resources/{wildcards.dataset}/manifest.tsv --root {params.root:q}"
        " --shard {wildcards.shard} --threads {threads} --settings {params.settings:q} --output {output:q} 2> {log:q}"


rule transcribe:
    input:
        heard_files,
        tasks=ancient("resources/{dataset}/tasks.txt"),
    output:
        "resources/{dataset}/text/{shard}.h5",
    log:
        "logs/transcribe/{dataset}/{shard}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=transcribe_gpus,
    params:
        settings=transcribe_settings,
        rows=shard_rows("audio", "start", "end", "text", "text_kind", "flags"),
        root=dataset_root,
        code=digest_of("media.transcribe"),
    message:
        "words of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "hcep transcribe --manifest resources/{wildcards.dataset}/manifest.tsv --root {params.root:q}"
        " --shard {wildcards.shard} --settings {params.settings:q} --output {output:q} 2> {log:q}"


rule index_cache:
    input:
        manifest="resources/{dataset}/manifest.tsv",
        frames=all_shards("frames"),
        audio=all_shards("audio"),
        text=all_shards("text"),
    output:
        index="resources/{dataset}/index.h5",
        qc=report(
            "resources/{dataset}/qc.tsv",
            caption="../report/qc.rst",
            category="Quality control",
            labels={"dataset": "{dataset}", "what": "every clip"},
        ),
    log:
        "logs/index_cache/{dataset}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=dataset_settings("max_failures"),
        code=digest_of("media.index"),
    message:
        "index the cache of {wildcards.dataset}"
    shell:
        "hcep index_cache --manifest {input.manifest:q} --frames {input.frames:q} --audio {input.audio:q}"
        " --text {input.text:q} --settings {params.settings:q} --output {output.index:q} --qc {output.qc:q}"
        " 2> {log:q}"


rule encode:
    input:
        index="resources/{dataset}/index.h5",
        media=shard_media,
        encoder=shard_encoder,
    output:
        "resources/{dataset}/features/{encoder}/{shard}.h5",
    log:
        "logs/encode/{dataset}/{encoder}/{shard}.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=encode_gpus,
    params:
        settings=encode_settings,
        encoder=subpath(input.encoder, parent=True),
        code=digest_of("training.encode"),
    message:
        "encode {wildcards.dataset} with {wildcards.encoder}, shard {wildcards.shard}"
    shell:
        "hcep encode --index {input.index:q} --shard {wildcards.shard} --encoder {params.encoder:q}"
        " --settings {params.settings:q} --output {output:q} 2> {log:q}"
