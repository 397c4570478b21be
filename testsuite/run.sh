#!/bin/sh
# run.sh [TEST...] - the tests of whole programs; prints TAP.
#
# A test is one file in testsuite/*/: a model as text (.fxg) whose comment lines say
# what to do with it, or a shell script (.test, see lib.sh) for what needs one.
#
#   # run: fxcc -S=post %s -o -     a command; %s: this file.  In an empty directory
#   # exit: 1                       status of the last command (0)
#   # expect: not: count: stderr:   see match.awk
#   # interp rand                   the library, the C99 product and the interpreter agree
#   #                               on these inputs (words of fxrun)
#   # todo: why                     it is known to fail
#   # tol: --rtol=1e-4              options of fxrun for that comparison
#   # flags: -ftype=x=f32[2]        options of fxcc for that comparison
#
# Alone: builddir=BUILD testsuite/run.sh testsuite/fuse/softmax.fxg
srcdir=${srcdir:-$(dirname "$0")/..}
builddir=${builddir:-.}
CC=${CC:-cc}
top=$(cd "$srcdir" && pwd)
bin=$(cd "$builddir" && pwd)
PATH=$bin:$PATH
unset FXCC_FLAGS MAKEFLAGS MFLAGS
tmp=$(mktemp -d "${TMPDIR:-/tmp}/fxtest-XXXXXX") || exit 99
trap 'cd /; rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM HUP
export PATH CC top bin
test -n "$ASAN_OPTIONS" || ASAN_OPTIONS=detect_leaks=0
# KiB of address space for damaged input; ASan needs terabytes
limit=1048576
! grep -q __asan_init "$bin/fxcc1" 2>/dev/null || limit=unlimited
export ASAN_OPTIONS limit

# directive NAME FILE: the rest of every such line
directive() { sed -n "s/^[ 	]*# *$1:\{0,1\} //p" "$2"; }

agree() { # FILE: the three ways to run it
	words=$(directive interp "$1"); tol=$(directive tol "$1"); flags=$(directive flags "$1"); w=
	for f in "${1%.fxg}.safetensors"; do test ! -e "$f" || w=$f; done
	types=$(for f in $flags; do case $f in -ftype=*) echo "--type=${f#-ftype=}" ;; esac; done)
	fxrun --interpret $types ${w:+--weights=$w} "$1" $words -o want || return 1
	expect=; for f in want_*.npy; do n=${f#want_}; expect="$expect ${n%.npy}=$f"; done
	fxcc -march=native -j1 $flags "$1" $w -o m.so || return 1
	fxrun m.so $words $tol --expect $expect || { echo "library and interpreter differ"; return 1; }
	fxcc $flags "$1" $w -o mc.c || return 1
	$CC -std=c99 -O1 -Wall -Wextra -pedantic -Werror -fPIC -shared mc.c -o mc.so -lm || return 1
	fxrun mc.so $words $tol --expect $expect || { echo "C99 product and interpreter differ"; return 1; }
}

text_test() { # FILE
	f=$1 rc=0
	directive run "$f" >commands
	: >stdout; : >stderr
	while IFS= read -r c; do
		c=$(printf '%s\n' "$c" | sed "s|%s|$f|g")
		rc=0; sh -c "$c" >>stdout 2>>stderr </dev/null || rc=$?
	done <commands
	want=$(directive exit "$f")
	test "$rc" = "${want:-0}" || { echo "exit status $rc"; cat stderr; return 1; }
	awk -f "$top/testsuite/match.awk" "$f" stdout stderr || { head -40 stdout; head -20 stderr; return 1; }
	! grep -q '^[ 	]*# *interp' "$f" || agree "$f"
}

script_test() { # FILE
	here=$(dirname "$1") sh -ec '. "$top/testsuite/lib.sh"; . "$1"' sh "$1"
}

test $# -gt 0 || set -- "$top"/testsuite/*/*.fxg "$top"/testsuite/*/*.test
n=0 failed=0
for t; do
	test -e "$t" || continue
	case $t in /*) ;; *) t=$PWD/$t ;; esac
	grep -q '^[ 	]*# *\(run\|interp\)' "$t" || case $t in *.fxg) continue ;; esac
	n=$((n + 1)) dir=$tmp/$n
	name=${t#"$top"/testsuite/}
	mkdir "$dir"
	if (cd "$dir" && case $t in *.fxg) text_test "$t" ;; *) script_test "$t" ;; esac) >"$tmp/log" 2>&1; then
		echo "ok $n - $name"
	elif test $? = 77; then
		echo "ok $n - $name # SKIP $(tail -1 "$tmp/log")"
	elif todo=$(directive todo "$t") && test -n "$todo"; then
		echo "not ok $n - $name # TODO $todo"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$tmp/log"
		failed=1
	fi
	rm -rf "$dir"
done
echo "1..$n"
exit $failed
