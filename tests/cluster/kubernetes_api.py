"""Stands in for a Kubernetes server: takes secrets and jobs, runs each job's command in a folder of its own.

    python kubernetes_api.py PORT FOLDER

It knows what Snakemake's executor asks, and nothing of images, nodes and volumes. A pod gets the variables of its
secret and of this process. `FOLDER/jobs.jsonl` holds every job as it was sent.
"""

import base64
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

port, folder = int(sys.argv[1]), Path(sys.argv[2])
secrets: dict[str, dict[str, str]] = {}
pods: dict[str, subprocess.Popen] = {}


def start(job: dict) -> None:
    """Run the command of a job's only container."""
    name, (container,) = job["metadata"]["name"], job["spec"]["template"]["spec"]["containers"]
    place = folder / name
    place.mkdir()
    values = {}
    for entry in container["env"]:
        source = entry["valueFrom"]["secretKeyRef"]
        values[entry["name"]] = base64.b64decode(secrets[source["name"]][source["key"]]).decode()
    with (folder / f"{name}.log").open("w") as log:
        command = [*container["command"], *container["args"]]
        pods[name] = subprocess.Popen(command, cwd=place, env=os.environ | values, stdout=log, stderr=log)


class Api(BaseHTTPRequestHandler):
    """The few paths that are asked for."""

    def answer(self, content: dict) -> None:
        """Send JSON."""
        text = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_POST(self) -> None:
        """A secret, or a job, which starts."""
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.split("?")[0].endswith("/secrets"):
            secrets[sent["metadata"]["name"]] = sent["data"]
        else:
            with (folder / "jobs.jsonl").open("a") as handle:
                print(json.dumps(sent), file=handle)
            start(sent)
        self.answer(sent)

    def do_GET(self) -> None:
        """The state of a job; the list of pods is empty, so that the job's state counts."""
        if "/pods" in self.path:
            return self.answer({"kind": "PodList", "apiVersion": "v1", "items": []})
        code = pods[self.path.split("?")[0].split("/")[-2]].poll()
        state = {} if code is None else {"failed": 1} if code else {"succeeded": 1}
        self.answer({"kind": "Job", "apiVersion": "batch/v1", "status": state})

    def do_DELETE(self) -> None:
        """A job that is over, or a secret."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer({"kind": "Status", "status": "Success"})

    def log_message(self, *words: object) -> None:
        """Say nothing."""


ThreadingHTTPServer(("127.0.0.1", port), Api).serve_forever()
