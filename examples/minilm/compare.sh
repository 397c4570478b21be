#!/bin/sh
# compare.sh - compile minilm.pt2 once and check it on every batch that export.py left.
#
# fxcc and fxrun are taken from the path, or from the folder given as first argument.
set -eu
test $# = 0 || PATH=$(cd "$1" && pwd):$PATH
cd "$(dirname "$0")"
test -e minilm.pt2 || { echo "compare.sh: run export.py first" >&2; exit 2; }
fxcc minilm.pt2 -o minilm.so
status=0
for ids in ids_*.npy; do
	k=${ids#ids_}
	if fxrun minilm.so "$ids" "mask_$k" --expect "embedding_$k" --rtol=0 --atol=1e-5; then
		echo "batch ${k%.npy}: within 1e-5 of PyTorch"
	else
		echo "batch ${k%.npy}: differs"
		status=1
	fi
done
exit $status
