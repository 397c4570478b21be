# views.pat - rewrites of what only moves elements.  simplify.pat says how rules are written.
#
# view, squeeze and unsqueeze keep the row-major order of the elements: any chain of
# them with the shape that it began with is nothing.

rule view_same          view(x, a) => x
rule view_view          view(view(x, a), b) => view(x, result.shape)
                        when viewstride(x.shape, x.stride, result.shape) is not None
rule uview_view         _unsafe_view(view(x, a), b) => view(x, result.shape)
                        when viewstride(x.shape, x.stride, result.shape) is not None
rule view_uview         view(_unsafe_view(x, a), b) => view(x, result.shape)
                        when viewstride(x.shape, x.stride, result.shape) is not None
rule uview_uview        _unsafe_view(_unsafe_view(x, a), b) => view(x, result.shape)
                        when viewstride(x.shape, x.stride, result.shape) is not None
rule view_unsqueeze     view(unsqueeze(x, d), a) => view(x, result.shape)
                        when viewstride(x.shape, x.stride, result.shape) is not None
rule view_squeeze       view(squeeze(x, d), a) => view(x, result.shape)
                        when viewstride(x.shape, x.stride, result.shape) is not None
rule unsqueeze_view     unsqueeze(view(x, a), d) => view(x, result.shape)
                        when viewstride(x.shape, x.stride, result.shape) is not None
rule squeeze_view       squeeze(view(x, a), d) => view(x, result.shape)
                        when viewstride(x.shape, x.stride, result.shape) is not None
rule squeeze_unsqueeze  squeeze(unsqueeze(x, d), e) => x
rule unsqueeze_squeeze  unsqueeze(squeeze(x, d), e) => x
rule select_unsqueeze   select(unsqueeze(x, d), d, 0) => x

rule expand_same        expand(x, a) => x
rule expand_expand      expand(expand(x, a), b) => expand(x, result.shape)

rule permute_same       permute(x, a) => x when normdims(a, x.ndim) == range(x.ndim)
rule permute_permute    permute(permute(x, a), b) => permute(x, [normdims(a, x.ndim)[k] for k in normdims(b, x.ndim)])
rule transpose_same     transpose(x, a, b) => x when normdim(a, x.ndim) == normdim(b, x.ndim)
rule transpose_pair     transpose(transpose(x, a, b), c, d) => x
                        when sorted([normdim(a, x.ndim), normdim(b, x.ndim)]) == sorted([normdim(c, x.ndim), normdim(d, x.ndim)])
rule permute_transpose  permute(transpose(x, a, b), p) =>
                        permute(x, [normdim(b, x.ndim) if k == normdim(a, x.ndim) else
                                    normdim(a, x.ndim) if k == normdim(b, x.ndim) else k for k in normdims(p, x.ndim)])
rule transpose_permute  transpose(permute(x, p), a, b) =>
                        permute(x, [normdims(p, x.ndim)[normdim(b, x.ndim) if k == normdim(a, x.ndim) else
                                    normdim(a, x.ndim) if k == normdim(b, x.ndim) else k] for k in range(x.ndim)])

rule slice_whole        slice(x, d, a, b) => x
rule slice_slice        slice(slice(x, d, a, b), d, c, e) =>
                        slice(x, d, a + c, a + c + result.shape[normdim(d, x.ndim)])
                        when a is not None and c is not None and a >= 0 and c >= 0 and
                             a + c + result.shape[normdim(d, x.ndim)] <= x.shape[normdim(d, x.ndim)]
rule cat_one            cat([x], d) => x
rule index_arange       index(x, [arange(0, c, 1, dtype=d)]) => slice(x, 0, 0, c)
                        when isint(c) and (d is None or d == i64)
rule flip_flip          flip(flip(x, a), a) => x
