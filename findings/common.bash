# Sourced by the scripts: a temporary folder with pinned packages, removed at the end. Usage: . common.bash PACKAGE==VERSION ...
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install -qq "$@"
python="$work/venv/bin/python"
