#!/bin/sh
# All benchmarks in one command: the environment of the peers, if it is missing, then all of them.
# Options go to the first two: --data-folder, --cores, --run, --scale, --epochs, --seed, --peak-seconds.
set -eu
cd "$(dirname "$0")/.."
venv=benchmarks/.venv
if ! cmp -s benchmarks/requirements.txt "$venv/requirements.txt"; then
    echo "installing the peers into $venv" >&2
    "${PYTHON:-python3}" -m venv --clear "$venv"
    "$venv/bin/pip" install -q -c constraints.txt -r benchmarks/requirements.txt -e .
    cp benchmarks/requirements.txt "$venv/requirements.txt"
fi
"$venv/bin/python" benchmarks/per_sample_gradients.py "$@"
"$venv/bin/python" benchmarks/spectrum.py "$@"
"$venv/bin/python" benchmarks/fokker_planck.py
"$venv/bin/python" benchmarks/trajectories.py
