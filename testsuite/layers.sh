#!/bin/sh
# layers.sh - who may include whom: base <- ir <- front, grad, lower <- emit <- cmd; rt
# stands alone, and what is linked into artifacts includes nothing of the compiler.
srcdir=${srcdir:-$(dirname "$0")/..}
cd "$srcdir" || exit 99
n=0 failed=0

# layer DIRS may include ALLOWED (a pattern of first parts)
layer() {
	name=$1 files=$2 allowed=$3
	n=$((n + 1))
	bad=$(grep -nE '^#include "[a-z]+/' $files /dev/null | grep -vE "#include \"($allowed)[/\"]")
	if test -z "$bad"; then
		echo "ok $n - $name includes $allowed only"
	else
		echo "not ok $n - $name includes $allowed only"
		echo "$bad" | sed 's/^/# /'
		failed=1
	fi
}

layer base  "lib/base/*.[ch]" 'base'
# the interpreter calls the extern operators of rt, as artifacts do
layer ir    "lib/ir/*.[ch] lib/ir/pass/*.[ch]" 'base|ir|rt/rt.h|rt/rttab.h'
layer front "lib/front/*.[ch]" 'base|ir|front|cjson'
layer grad  "lib/grad/*.[ch]" 'base|ir|grad'
layer lower "lib/lower/*.[ch]" 'base|ir|lower'
layer emit  "lib/emit/*.[ch]" 'base|ir|lower|rt|emit'
layer rt    "lib/rt/*.[ch]" 'rt'
layer gen   "lib/gen/*.[ch]" 'base|ir|gen'
n=$((n + 1))
if bad=$(grep -nE '^#include [<"](llvm-c|cJSON|cjson)' lib/base/*.[ch] lib/ir/*.[ch] lib/grad/*.[ch] lib/lower/*.[ch] lib/rt/*.[ch] cmd/fxrun*.c cmd/fxcheck.c cmd/case*.c cmd/artifact.c); then
	echo "not ok $n - LLVM only in emit, cJSON only in front"
	echo "$bad" | sed 's/^/# /'
	failed=1
else
	echo "ok $n - LLVM only in emit, cJSON only in front"
fi
n=$((n + 1))
if bad=$(grep -nE '\b(exit|_exit|abort) *\(' lib/base/*.c lib/ir/*.c lib/front/*.c lib/grad/*.c lib/lower/*.c lib/emit/*.c lib/rt/*.c | grep -vE ':[0-9]+:[^"]*(/\*|\*)|atexit|lib/base/(arena|ctx|diag|map)\.c'); then
	echo "not ok $n - no exit in lib/"
	echo "$bad" | sed 's/^/# /'
	failed=1
else
	echo "ok $n - no exit in lib/"
fi
echo "1..$n"
exit $failed
