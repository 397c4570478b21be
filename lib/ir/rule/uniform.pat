# uniform.pat - tensors whose elements are all equal, pushed through what only moves
# elements and into arithmetic.  simplify.pat says how rules are written.

rule add_full       add(x, full(s, c, dtype=d)) => add(x, c) when x.dtype == d and d in [f32, f64] and x.ndim > 0
rule sub_full       sub(x, full(s, c, dtype=d)) => sub(x, c) when x.dtype == d and d in [f32, f64] and x.ndim > 0
rule mul_full       mul(x, full(s, c, dtype=d)) => mul(x, c) when x.dtype == d and d in [f32, f64] and x.ndim > 0
rule div_full       div(x, full(s, c, dtype=d)) => div(x, c) when x.dtype == d and d in [f32, f64] and x.ndim > 0
rule view_full      aten.view.default(full(s, c, dtype=d), a) => full(result.shape, c, dtype=result.dtype)
rule expand_full    expand(full(s, c, dtype=d), a) => full(result.shape, c, dtype=result.dtype)
rule permute_full   permute(full(s, c, dtype=d), a) => full(result.shape, c, dtype=result.dtype)
rule unsqueeze_full unsqueeze(full(s, c, dtype=d), a) => full(result.shape, c, dtype=result.dtype)
rule slice_full     slice(full(s, c, dtype=d), a, b, e) => full(result.shape, c, dtype=result.dtype)
rule select_full    select(full(s, c, dtype=d), a, b) => full(result.shape, c, dtype=result.dtype)
rule squeeze_full   squeeze(full(s, c, dtype=d), a) => full(result.shape, c, dtype=result.dtype)
rule cast_full      _to_copy(full(s, c, dtype=d), dtype=e) => full(result.shape, c, dtype=e)
                    when d is not None and e is not None and represents(d, c) and represents(e, c)
rule where_true     where(full(s, True, dtype=b8), x, y) => x
rule where_false    where(full(s, False, dtype=b8), x, y) => y
