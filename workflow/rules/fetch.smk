# generated or fetched inputs; the only rules that may use the network


rule generate_demo:
    output:
        clips="resources/demo/raw/clips.tsv",
        video=directory("resources/demo/raw/video"),
    log:
        "logs/generate_demo.log",
    # Snakemake's S3 plugin (0.3.6) does not find a folder that a job elsewhere has stored
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    threads: 2
    params:
        seed=0,
        speakers="12 8",
        folder=subpath(output.clips, parent=True),
        words=package_data("demo/words/transcripts.json"),
        code=stage_digest("generate_demo"),
    message:
        "generate the demo clips"
    shell:
        shell_command("generate_demo")


use rule generate_demo as generate_demo_small with:
    output:
        clips="resources/demo_small/raw/clips.tsv",
        video=directory("resources/demo_small/raw/video"),
    log:
        "logs/generate_demo_small.log",
    params:
        seed=0,
        speakers="4 2",
        folder=subpath(output.clips, parent=True),
        words=package_data("demo/words/transcripts.json"),
        code=stage_digest("generate_demo"),
    message:
        "generate the 60 clips of demo_small"


use rule generate_demo as generate_demo_wide with:
    output:
        clips="resources/demo_wide_{number}/raw/clips.tsv",
        video=directory("resources/demo_wide_{number}/raw/video"),
    log:
        "logs/generate_demo_wide/{number}.log",
    wildcard_constraints:
        number="[0-9]+",
    params:
        seed="{number}",
        speakers="12 8",
        folder=subpath(output.clips, parent=True),
        words=package_data("demo/words/transcripts.json"),
        code=stage_digest("generate_demo"),
    message:
        "generate demo clips with seed {wildcards.number}"


rule pretrain_demo_encoders:
    output:
        "resources/encoders/pretrained_demo/encoder.json",
        "resources/encoders/pretrained_demo/clip.safetensors",
        "resources/encoders/pretrained_demo/audio.safetensors",
    log:
        "logs/pretrain_demo_encoders.log",
    conda:
        "../../envs/hcep.yaml"
    threads: 2
    params:
        seed=0,
        folder=subpath(output[0], parent=True),
        code=stage_digest("pretrain_demo_encoders"),
    message:
        "pretrain the small encoders of the package again"
    shell:
        shell_command("pretrain_demo_encoders")


rule fetch_encoders:
    output:
        info="resources/encoders/{encoder}/encoder.json",
        clip="resources/encoders/{encoder}/clip.safetensors",
        audio="resources/encoders/{encoder}/audio.safetensors",
    log:
        "logs/fetch_encoders/{encoder}.log",
    wildcard_constraints:
        encoder=clips.encoders("package", "hub", "random"),
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=clips.encoder_settings,
        weights=clips.package_weights,
        folder=subpath(output.info, parent=True),
        code=stage_digest("fetch_encoders"),
    message:
        "fetch encoder {wildcards.encoder}"
    shell:
        shell_command("fetch_encoders")


rule declare_encoder:
    output:
        output="resources/encoders/{encoder}/encoder.json",
    log:
        "logs/declare_encoder/{encoder}.log",
    wildcard_constraints:
        encoder=clips.encoders("import"),
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        settings=clips.declared_settings,
        code=stage_digest("declare_encoder"),
    message:
        "declare encoder {wildcards.encoder}, whose features are imported"
    shell:
        shell_command("declare_encoder")


ruleorder: pretrain_demo_encoders > fetch_encoders


rule download_ravdess:
    output:
        touch("data/ravdess/.downloaded"),
    log:
        "logs/download_ravdess.log",
    localrule: True
    conda:
        "../../envs/hcep.yaml"
    params:
        folder=subpath(output[0], parent=True),
    message:
        "download RAVDESS (Zenodo record 1188976, CC BY-NC-SA 4.0)"
    shell:
        shell_command("download_ravdess")
