#!/bin/sh
# cases.sh - a sample of the shared cases, if they are there (FXCC_SHARED, or ../shared
# beside the source): the models and kernels in every form, some packs of operators.
# FXCC_CASES=quick takes one form of each; FXCC_CASES=none nothing.
srcdir=${srcdir:-$(dirname "$0")/..}
builddir=${builddir:-.}
shared=${FXCC_SHARED:-$srcdir/../shared}
test -d "$shared/cases/models" && test "$FXCC_CASES" != none ||
	{ echo "1..0 # SKIP no shared cases (FXCC_SHARED)"; exit 0; }
forms=--form=all
test "$FXCC_CASES" != quick || forms=
test -n "$ASAN_OPTIONS" || ASAN_OPTIONS=detect_leaks=0
export ASAN_OPTIONS

check() { "$builddir/fxcheck" -j2 --fxcc-flags=-march=native "$@" | sed '$d'; }

ops() {
	for p in __getitem__ add addmm amax argmax bmm cat clamp cumsum div__floor_rounding expand flip gather \
		index_put index_select masked_fill max_pool2d_with_indices_backward mean native_batch_norm \
		native_layer_norm nn.functional.avg_pool2d nn.functional.conv2d nn.functional.conv_transpose2d \
		nn.functional.embedding nn.functional.gelu nn.functional.layer_norm nn.functional.pad__reflect \
		nn.functional.scaled_dot_product_attention nonzero permute pow scatter_add slice softmax sort \
		split sum topk var_mean where; do
		test ! -d "$shared/cases/ops/$p" || printf '%s\n' "$shared/cases/ops/$p"
	done
}

# the same operators, and more, with their gradients
train() {
	for p in addmm bmm cat cumsum expand gather index_put index_select masked_fill mean mul native_layer_norm \
		nn.functional.conv2d nn.functional.cross_entropy nn.functional.dropout nn.functional.embedding \
		nn.functional.gelu nn.functional.max_pool2d nn.functional.scaled_dot_product_attention permute \
		select softmax sort sum topk var_mean where; do
		test ! -d "$shared/cases/ops/$p" || printf '%s\n' "$shared/cases/ops/$p"
	done
}

# PyTorch's own tests, whose packs hold weights and say what is mutated
torchtests() {
	test "$FXCC_CASES" = quick || packs="exportdb hop modules"
	for p in aot $packs; do
		test ! -d "$shared/cases/pytorch_tests/$p" || printf '%s\n' "$shared/cases/pytorch_tests/$p"
	done
}

{ check --train $forms "$shared/cases/models"; check --train $(train); check $forms "$shared/cases/models"; check $forms "$shared/cases/kernelbench"; check $(ops); check $(torchtests); } | {
	n=0 failed=0
	while IFS= read -r line; do
		n=$((n + 1))
		case $line in
		PASS*) echo "ok $n - ${line#PASS }" ;;
		*) echo "not ok $n - $line"; failed=1 ;;
		esac
	done
	echo "1..$n"
	exit $failed
}
