# clips -> manifest -> shards of frames, sound and words -> index


checkpoint manifest:
    input:
        clips.manifest_files,
    output:
        output="resources/{dataset}/manifest.tsv",
    log:
        "logs/manifest/{dataset}.log",
    # before the decoding of another dataset: a missing release is told at once
    priority: 1
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=clips.release_settings("adapter", "options", "text"),
        root=clips.root_of_job,
        watch=clips.watch,
        code=clips.adapter_code("manifest"),
    message:
        "list the clips of {wildcards.dataset}"
    shell:
        shell_command("manifest")


rule check:
    input:
        expected=clips.expected_counts,
    output:
        output="resources/{dataset}/check.txt",
    log:
        "logs/check/{dataset}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=clips.release_settings("adapter", "options", "text", "max_failures"),
        root=clips.root,
        watch=clips.watch,
        code=clips.adapter_code("check"),
    message:
        "check the release of {wildcards.dataset}"
    shell:
        shell_command("check")


# Shards and splits wait for it, and do not follow it: as an `ancient` input it is no reason to make them again. It is a
# checkpoint because Snakemake does not look for other reasons behind a job that is to run, and looks again after one.
checkpoint check_tasks:
    input:
        manifest="resources/{dataset}/manifest.tsv",
    output:
        # an earlier one stays when the check fails: were it removed, the shards would be decoded again
        output=update("resources/{dataset}/tasks.txt"),
    log:
        "logs/check_tasks/{dataset}.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=clips.names_of_tasks,
        code=stage_digest("check_tasks"),
        failed=clips.last_failed_check,
    message:
        "labels and folds of {wildcards.dataset} against the tasks"
    shell:
        shell_command("check_tasks") + " || {{ cp {log:q} logs/check_tasks/{wildcards.dataset}.failed.log; exit 1; }}"


rule decode_frames:
    input:
        media=clips.media_files("video", "frames"),
        manifest=ancient("resources/{dataset}/manifest.tsv"),
        tasks=ancient("resources/{dataset}/tasks.txt"),
    output:
        output="resources/{dataset}/frames/{shard}.h5",
    log:
        "logs/decode_frames/{dataset}/{shard}.log",
    # machine trouble (a decoder that was killed, no memory) ends the job, and may be over
    retries: 2
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=clips.settings("frames", "size", "frame_sampling", "timeout", "decoder_memory"),
        rows=clips.rows("video", "start", "end", "box", "flags", "faces"),
        contents=clips.contents("video", "frames"),
        root=clips.root_of_job,
        code=stage_digest("decode_frames"),
    message:
        "decode frames of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        shell_command("decode_frames")


rule decode_audio:
    input:
        media=clips.media_files("audio", "audio"),
        manifest=ancient("resources/{dataset}/manifest.tsv"),
        tasks=ancient("resources/{dataset}/tasks.txt"),
    output:
        output="resources/{dataset}/audio/{shard}.h5",
    log:
        "logs/decode_audio/{dataset}/{shard}.log",
    # machine trouble (a decoder that was killed, no memory) ends the job, and may be over
    retries: 2
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    params:
        settings=clips.settings("samples", "audio_window", "timeout", "decoder_memory"),
        rows=clips.rows("audio", "start", "end", "flags"),
        contents=clips.contents("audio", "audio"),
        root=clips.root_of_job,
        code=stage_digest("decode_audio"),
    message:
        "decode sound of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        shell_command("decode_audio")


rule transcribe:
    input:
        media=clips.media_files("audio", "text"),
        manifest=ancient("resources/{dataset}/manifest.tsv"),
        tasks=ancient("resources/{dataset}/tasks.txt"),
    output:
        output="resources/{dataset}/text/{shard}.h5",
    log:
        "logs/transcribe/{dataset}/{shard}.log",
    wildcard_constraints:
        dataset="|".join(clips.listens(wanted=True)) or "(?!)",
    # machine trouble (a decoder that was killed, no memory) ends the job, and may be over
    retries: 2
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=1,
    params:
        settings=clips.settings("text", "asr_model", "timeout", "decoder_memory"),
        rows=clips.rows("audio", "start", "end", "text", "text_kind", "flags"),
        contents=clips.contents("audio", "text"),
        root=clips.root_of_job,
        code=stage_digest("transcribe"),
    message:
        "words of {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        shell_command("transcribe")


# words that nobody listens to are written in a moment, so one job takes all shards of a dataset
for dataset in clips.listens(wanted=False):

    rule:
        name:
            f"words_{dataset}"
        input:
            manifest=clips.of_dataset(dataset, clips.once_listed),
            tasks=ancient(f"resources/{dataset}/tasks.txt"),
        output:
            output=clips.shards_of(dataset, "text"),
        log:
            f"logs/words/{dataset}.log",
        localrule: True
        conda:
            "../../envs/hcep.yaml"
        params:
            settings=clips.of_dataset(dataset, clips.settings("text")),
            rows=clips.of_dataset(dataset, clips.rows("text", "text_kind", "flags", "video", "audio")),
            code=stage_digest("words"),
        message:
            f"words of {dataset}"
        shell:
            shell_command("words")


rule index_cache:
    input:
        manifest="resources/{dataset}/manifest.tsv",
        frames=clips.all_shards("frames"),
        audio=clips.all_shards("audio"),
        text=clips.all_shards("text"),
    output:
        index="resources/{dataset}/index.h5",
        qc=report(
            "resources/{dataset}/qc.tsv",
            caption="../report/qc.rst",
            category="Quality control",
            labels={"dataset": "{dataset}", "to read": "no"},
        ),
    log:
        "logs/index_cache/{dataset}.log",
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=clips.settings("max_failures"),
        code=stage_digest("index_cache"),
    message:
        "index the cache of {wildcards.dataset}"
    shell:
        shell_command("index_cache")


rule encode:
    input:
        index="resources/{dataset}/index.h5",
        media=clips.shard_media,
        encoder=clips.shard_encoder,
        weights=clips.shard_weights,
    output:
        output="resources/{dataset}/features/{encoder}/{shard}.h5",
    log:
        "logs/encode/{dataset}/{encoder}/{shard}.log",
    wildcard_constraints:
        encoder=clips.encoders("package", "hub", "random"),
    conda:
        "../../envs/hcep.yaml"
    threads: 1
    resources:
        gpu=clips.encode_gpus,
    params:
        settings=clips.encode_settings,
        encoder=subpath(input.encoder, parent=True),
        code=stage_digest("encode"),
    message:
        "encode {wildcards.dataset} with {wildcards.encoder}, shard {wildcards.shard}"
    shell:
        shell_command("encode")


rule import_features:
    input:
        index="resources/{dataset}/index.h5",
        features=clips.features_file,
        encoder="resources/encoders/{encoder}/encoder.json",
    output:
        output="resources/{dataset}/features/{encoder}/{shard}.h5",
    log:
        "logs/import_features/{dataset}/{encoder}/{shard}.log",
    wildcard_constraints:
        encoder=clips.encoders("import"),
    conda:
        "../../envs/hcep.yaml"
    params:
        encoder=subpath(input.encoder, parent=True),
        code=stage_digest("import_features"),
    message:
        "features of {wildcards.encoder} for {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        shell_command("import_features")
