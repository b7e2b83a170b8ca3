#!/usr/bin/env bash
# snakemake-storage-plugin-s3 0.3.6: whether an output is a folder is asked once and remembered. Before its job runs the
# answer is no. A job in a process of its own then stores the folder, and the main process still says that it is missing: the
# run ends with an error although all files lie in the store. Files are seen, and so is a folder that the main process stores.
. "$(dirname "$0")/common.bash" snakemake==9.27.1 snakemake-storage-plugin-s3==0.3.6 \
    snakemake-executor-plugin-cluster-generic==1.0.9 "moto[server]==5.2.5"
cat > Snakefile <<'S'
rule folder:
    output: directory("folder")
    shell: "mkdir {output} && echo 1 > {output}/one.txt"

rule file:
    output: "file.txt"
    shell: "echo 1 > {output}"
S
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
venv/bin/moto_server -H 127.0.0.1 -p "$port" > moto.log 2>&1 &
server=$!
trap 'kill "$server"; rm -rf "$work"' EXIT
export PATH="$work/venv/bin:$PATH" SNAKEMAKE_STORAGE_S3_ENDPOINT_URL="http://127.0.0.1:$port"
export SNAKEMAKE_STORAGE_S3_ACCESS_KEY=key SNAKEMAKE_STORAGE_S3_SECRET_KEY=secret
cat > submit <<END
#!/bin/sh
cp "\$1" "$work/job.sh"
mkdir -p "$work/\$\$" && cd "$work/\$\$" && sh "$work/job.sh" > "$work/job.log" 2>&1 && echo 1
END
printf '#!/bin/sh\necho success\n' > status
chmod +x submit status
make() {
    venv/bin/snakemake "$1" --latency-wait 2 --default-storage-provider s3 --default-storage-prefix s3://bucket/"$2" "${@:3}" \
        > log 2>&1 && code=0 || code=$?
}
elsewhere=(--executor cluster-generic --cluster-generic-submit-cmd "$work/submit" --cluster-generic-status-cmd "$work/status"
    --seconds-between-status-checks 1 --jobs 1 --shared-fs-usage none --job-deploy-sources)
make file.txt elsewhere "${elsewhere[@]}"
echo "a file, stored by a job: exit $code"
[ "$code" = 0 ] || { cat log job.log; echo "the behaviour has changed"; exit 1; }
make folder here --cores 1
echo "a folder, stored by the main process: exit $code"
[ "$code" = 0 ] || { cat log job.log; echo "the behaviour has changed"; exit 1; }
make folder elsewhere "${elsewhere[@]}"
stored=$("$python" - <<P
import boto3
bucket = boto3.resource("s3", endpoint_url="$SNAKEMAKE_STORAGE_S3_ENDPOINT_URL", region_name="us-east-1",
                        aws_access_key_id="key", aws_secret_access_key="secret").Bucket("bucket")
print([item.key for item in bucket.objects.filter(Prefix="elsewhere/folder")])
P
)
echo "a folder, stored by a job: exit $code, in the store: $stored"
grep -m1 "missing in storage" log || true
[ "$code" = 1 ] && [ "$stored" != "[]" ] || { cat log job.log; echo "the behaviour has changed"; exit 1; }
