# patterns.pat - operators that together have a better form.
# simplify.pat says how rules are written.

# One batch needs no batch.
rule bmm_to_mm      bmm(x, y) => unsqueeze(mm(squeeze(x, 0), squeeze(y, 0)), 0) when x.shape[0] == 1 and y.shape[0] == 1

# Running sums of equal elements: exact for integers, and while floats hold every one.
rule pointless_cumsum  cumsum(full(s, c, dtype=d), k) =>
                       expand(view(mul(arange(1, result.shape[normdim(k, result.ndim)] + 1, 1, dtype=result.dtype), c),
                                   lengthof(result, normdim(k, result.ndim))), result.shape)
                       when result.ndim > 0 and (d == result.dtype or d == b8) and represents(d, c) and (result.dtype.isint or
                            (result.dtype in [f32, f64] and isknown(result.shape[normdim(k, result.ndim)]) and
                             c == floor(c) and c != 0 and abs(c)*result.shape[normdim(k, result.ndim)] <= 16777216))

# One element of each line set: a choice for every element, which fuses.
rule scatter_upon_const_tensor  aten.scatter.value(full(s, c, dtype=t), d, x, k) =>
                       where(eq(view(arange(0, result.shape[normdim(d, result.ndim)], 1, dtype=i64), lengthof(result, normdim(d, result.ndim))), x),
                             full([], k, dtype=result.dtype), full([], c, dtype=result.dtype))
                       when result.ndim > 0 and x.dtype == i64 and x.ndim == result.ndim and
                            all(x.shape[j] == n for j, n in enumerate(onelong(result, normdim(d, result.ndim))))
rule scatter_src_upon_const_tensor  aten.scatter.src(full(s, c, dtype=t), d, x, y) =>
                       where(eq(view(arange(0, result.shape[normdim(d, result.ndim)], 1, dtype=i64), lengthof(result, normdim(d, result.ndim))), x),
                             y, full([], c, dtype=result.dtype))
                       when result.ndim > 0 and x.dtype == i64 and x.ndim == result.ndim and y.shape == x.shape and
                            y.dtype == result.dtype and
                            all(x.shape[j] == n for j, n in enumerate(onelong(result, normdim(d, result.ndim))))

# Scales before softmax's maximum is subtracted go behind it (mul_softmax_pattern).
rule mul_softmax       sub(mul(x, c), amax(mul(x, c), a, True)) => mul(sub(x, amax(x, a, True)), c) fast when c > 0 and x.dtype.isfloat
rule div_softmax       sub(div(x, c), amax(div(x, c), a, True)) => div(sub(x, amax(x, a, True)), c) fast when c > 0 and x.dtype.isfloat

# ---- parts that are put together again, parts of what was put together ------------------------

rule cat_cat           cat([*l, cat(m, d), *r], d) => cat([*l, *m, *r], d) when all(t.dtype == result.dtype for t in m)
rule split_cat         cat([*l, slice(x, e, a, b), slice(x, f, b, c), *r], d) => cat([*l, slice(x, d, a, c), *r], d)
                       when result.numel > 0 and x.ndim == result.ndim and normdim(d, x.ndim) == normdim(e, x.ndim) and
                            normdim(d, x.ndim) == normdim(f, x.ndim) and isint(b) and isint(c) and
                            (a is None or (isint(a) and a >= 0 and b >= a)) and b >= 0 and c >= b
rule slice_cat         slice(cat(r, d), e, a, b) =>
                       [slice(r[k], e, a - ahead(r, k, normdim(e, result.ndim)),
                              a - ahead(r, k, normdim(e, result.ndim)) + result.shape[normdim(e, result.ndim)])
                        for k in range(len(r)) if within(r, k, normdim(e, result.ndim), a, result.shape[normdim(e, result.ndim)])][0]
                       when all(t.ndim == result.ndim and t.numel > 0 for t in r) and normdim(d, result.ndim) == normdim(e, result.ndim) and
                            isint(a) and a >= 0 and
                            any(within(r, k, normdim(e, result.ndim), a, result.shape[normdim(e, result.ndim)]) for k in range(len(r)))
rule select_cat        select(cat(r, d), e, a) =>
                       [select(r[k], e, a - ahead(r, k, normdim(e, result.ndim + 1)))
                        for k in range(len(r)) if within(r, k, normdim(e, result.ndim + 1), a, 1)][0]
                       when all(t.ndim == result.ndim + 1 and t.numel > 0 for t in r) and normdim(d, result.ndim + 1) == normdim(e, result.ndim + 1) and
                            a >= 0 and any(within(r, k, normdim(e, result.ndim + 1), a, 1) for k in range(len(r)))
