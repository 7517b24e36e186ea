#!/usr/bin/env bash
# The first minutes on a GPU: is it ready, how fast, and does memory hold what was counted? At most 8 minutes, no
# network, no data but generated ones. Writes one JSON.
#
#   benchmarks/gpu/first_minutes.sh [OUTPUT.json] [cuda|cpu]       (cpu: tiny sizes, to try the script itself)
set -uo pipefail
cd "$(dirname "$0")/../.."
output=${1:-first_minutes.json}
device=${2:-cuda}
python=${PYTHON:-python}
if [ "$device" = cuda ] && ! "$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())'; then
    echo "first_minutes: PyTorch finds no CUDA device here. Try the script itself with: $0 $output cpu" >&2
    exit 2
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" balrsam_offline=1
exec "$python" benchmarks/gpu/first_minutes.py --output "$output" --device "$device"
