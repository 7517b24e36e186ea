#!/usr/bin/env bash
# The first minutes on a GPU: is it ready, how fast, and does memory hold what was counted? At most 8 minutes, no
# network, no data but generated ones. Writes one JSON.
#
#   benchmarks/gpu/first_minutes.sh [OUTPUT.json] [cuda|cpu]       (cpu: tiny sizes, to try the script itself)
#
# Takes the Python that PYTHON names, else that of .venv (make test makes it), else python3.
set -uo pipefail
output=$(realpath -m "${1:-first_minutes.json}")
cd "$(dirname "$0")/../.." || exit 2
device=${2:-cuda}
own=.venv/bin/python
[ -x "$own" ] || own=python3
python=${PYTHON:-$own}
if ! "$python" -c 'import torch, pytest'; then
    echo "first_minutes: $python lacks PyTorch or pytest. make test installs both into .venv" >&2
    exit 2
fi
if [ "$device" = cuda ] && ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())'; then
    echo "first_minutes: PyTorch finds no CUDA device here. Try the script itself with: $0 $output cpu" >&2
    exit 2
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" balrsam_offline=1
exec "$python" benchmarks/gpu/first_minutes.py --output "$output" --device "$device"
