#!/bin/sh
# golden.sh - our graphs against those of PyTorch's AOTAutograd, if they are there (FXCC_SHARED, or
# ../shared beside the source).
#
#     builddir=build testsuite/golden.sh [-v] [NN...]
#
# The first line of golden/NN_name.fxg is the command to run.  Compared with NN_name.txt: how often
# each operator occurs in the joint (or inference) graph, how many values -S=forward returns, and
# the lines of inputs and outputs of the record of aliases.  -v shows what differs (< PyTorch's).
srcdir=${srcdir:-$(dirname "$0")/..}
builddir=${builddir:-.}
dir=${FXCC_SHARED:-$srcdir/../shared}/golden
test -d "$dir" || { echo "1..0 # SKIP no golden dumps (FXCC_SHARED)"; exit 0; }
test -n "$ASAN_OPTIONS" || ASAN_OPTIONS=detect_leaks=0
export ASAN_OPTIONS
verbose= total=0 failed=0
test "$1" != -v || { verbose=1; shift; }
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' 0

# section FILE NAME: what stands under "== NAME"
section() { awk -v want="== $2" '/^== / { on = $0 == want; next } on' "$1"; }

# The operators of a graph, sorted; comments name none.
operators() { sed '/^ *#/d' | grep -o 'torch\.ops\.[A-Za-z0-9_.]*(' | tr -d '(' | sed 's/^torch\.ops\.//' | sort; }

# How many values the first `return` has.
returned() {
	awk '/^ *return/ && !done {
		done = 1; sub(/^ *return */, ""); sub(/^pytree.tree_unflatten\(\[/, "("); sub(/\], *self\._out_spec\)$/, ")")
		depth = 0; n = 0; any = 0
		for (i = 1; i <= length($0); i++) {
			c = substr($0, i, 1)
			if (c == "(" || c == "[") depth++
			else if (c == ")" || c == "]") depth--
			else if (c == "," && depth <= 1) { n += any; any = 0 }
			else if (c != " ") any = 1
		}
		print n + any
	}'
}

result() {                      # result NAME PART FILE_WANT FILE_GOT
	total=$((total + 1))
	if cmp -s "$3" "$4"; then
		echo "ok $total - $1 $2"
		return
	fi
	failed=$((failed + 1))
	echo "not ok $total - $1 $2"
	test -z "$verbose" || { diff "$3" "$4" | grep '^[<>]' | sort | uniq -c | sed 's/^/# /'; sed 's/^/# /' "$tmp/err" | head -8; }
}

golden() {                      # golden FILE.fxg
	fxg=$1 txt=${1%.fxg}.txt name=$(basename "$1" .fxg)
	args=$(sed -n '1s/^# run: fxcc //p' "$fxg" | sed "s|%s|$fxg|")
	graph=joint
	grep -q '^== joint' "$txt" || graph=inference
	timeout 60 "$builddir/fxcc" $args >"$tmp/out" 2>"$tmp/err" </dev/null
	section "$txt" $graph | operators >"$tmp/want"
	operators <"$tmp/out" >"$tmp/got"
	result "$name" "operators of $graph" "$tmp/want" "$tmp/got"
	section "$txt" meta | grep '^ *\(in\|out\)\[' | sed 's/^ *//' >"$tmp/want"
	grep '^ *\(in\|out\)\[' "$tmp/out" | sed 's/^ *//' >"$tmp/got"
	result "$name" "record of aliases" "$tmp/want" "$tmp/got"
	test $graph = joint || return 0
	timeout 60 "$builddir/fxcc" $(echo "$args" | sed 's/-S=joint/-S=forward/; s/-fdump-meta//') >"$tmp/out" 2>"$tmp/err" </dev/null
	section "$txt" forward | returned >"$tmp/want"
	returned <"$tmp/out" >"$tmp/got"
	result "$name" "values of forward" "$tmp/want" "$tmp/got"
}

for f in "$dir"/*.fxg; do
	n=$(basename "$f" | sed 's/_.*//')
	test $# = 0 || case " $* " in *" $n "*) ;; *) continue ;; esac
	golden "$f"
done
echo "1..$total"
echo "# $failed of $total failed"
test $failed = 0
