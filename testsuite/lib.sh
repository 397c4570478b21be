# lib.sh - what test scripts (*.test) may use.  They run in an empty directory with
# fxcc, fxrun and fxcheck on the PATH, under set -e: the first command that fails ends
# the test.  $here is the directory of the test, $CC a C compiler.

# die TEXT: the test fails, and says why
die() { echo "$*" >&2; exit 1; }

# fails CODE COMMAND...: it must end with that status; its stderr is in the file err
fails() {
	want=$1; shift; got=0
	"$@" >out 2>err </dev/null || got=$?
	test "$got" = "$want" || { cat err >&2; die "exit status $got, not $want: $*"; }
}

# has FILE TEXT: some line holds it;  lacks FILE TEXT: none does
has() { grep -qF -e "$2" "$1" || { head -20 "$1" >&2; die "$1 has no line with: $2"; }; }
lacks() { ! grep -qF -e "$2" "$1" || die "$1 has a line with: $2"; }

# same A B: the files are equal
same() { cmp "$1" "$2" >&2 || die "$1 and $2 differ"; }

# absent FILE...: none exists
absent() { for f; do test ! -e "$f" || die "$f exists"; done; }

# clean: only these files are in the directory
clean() { for f in * .[!.]*; do test -e "$f" || continue; case " $* out err " in *" $f "*) ;; *) die "left behind: $f" ;; esac; done; }

# one diagnostic, exit 1, within a second or two and a bounded memory; nothing is written
refused() {
	rm -f bad.so bad.h
	fails 1 sh -c 'ulimit -v '"$limit"' 2>/dev/null || :; exec timeout 20 fxcc "$@"' fxcc "$@" -o bad.so
	absent bad.so bad.h
	n=$(grep -c 'error:' err || :)
	test "$n" -ge 1 || { cat err >&2; die "no error message: $*"; }
}

# A model as text: relu of the sum of two inputs
small() {
	cat <<'EOF'
class GraphModule(torch.nn.Module):
    def forward(self, x: "f32[3, 5]", y: "f32[3, 5]"):
        add: "f32[3, 5]" = torch.ops.aten.add.Tensor(x, y);  x = y = None
        relu: "f32[3, 5]" = torch.ops.aten.relu.default(add);  add = None
        return (relu,)
EOF
}

# libs M: shared libraries that M needs
libs() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort | tr '\n' ' '; }
