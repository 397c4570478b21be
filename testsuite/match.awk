# match.awk - does the output of a test hold what its directives say?
# Usage: awk -f match.awk TEST STDOUT STDERR; prints each expectation not met.
#   expect: TEXT   lines of stdout hold these texts, in this order
#   stderr: TEXT   lines of stderr hold these texts, in this order
#   not: TEXT      no line of stdout or stderr holds it
#   count: N TEXT  so many lines of stdout hold it
function miss(what) { print "  " what; bad = 1 }
function word(s) { sub(/^[ \t]*#[ \t]*[a-z]+:[ ]?/, "", s); return s }
{ file = FILENAME == ARGV[1] ? 1 : FILENAME == ARGV[2] ? 2 : 3 }
file == 1 && /^[ \t]*# *expect:/ { want[++nwant] = word($0) }
file == 1 && /^[ \t]*# *stderr:/ { ewant[++newant] = word($0) }
file == 1 && /^[ \t]*# *not:/    { never[++nnever] = word($0) }
file == 1 && /^[ \t]*# *count:/  { s = word($0); n = s; sub(/ .*/, "", n); sub(/^[^ ]* /, "", s); cnt[++ncnt] = s; cwant[ncnt] = n }
file == 2 {
	while (at < nwant && index($0, want[at + 1])) at++
	for (i = 1; i <= ncnt; i++) if (index($0, cnt[i])) cgot[i]++
}
file == 3 { while (eat < newant && index($0, ewant[eat + 1])) eat++ }
file >= 2 { for (i = 1; i <= nnever; i++) if (index($0, never[i])) found[i] = 1 }
END {
	if (at < nwant) miss("expected: " want[at + 1])
	if (eat < newant) miss("expected on stderr: " ewant[eat + 1])
	for (i = 1; i <= nnever; i++) if (found[i]) miss("not wanted: " never[i])
	for (i = 1; i <= ncnt; i++) if (cgot[i] + 0 != cwant[i]) miss("wanted " cwant[i] " lines, got " cgot[i] + 0 ": " cnt[i])
	exit bad
}
