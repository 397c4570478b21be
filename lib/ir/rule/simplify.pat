# simplify.pat - rewrites of arithmetic.
#
#   rule NAME PATTERN => REPLACEMENT [fast] [when CONDITION]
#
# in the expressions of the table language (op/README).  A rule goes on over lines that
# are indented.
#
# The pattern is a call.  mul(x, y) matches every overload of that name; aten.mul.Scalar(x, c)
# that one.  Names u to z, also with a number behind (x1), bind tensors; all other names bind
# what is no tensor: numbers, dtypes, lists, None.  A name that occurs twice must match the same.
# A list is [x, *r], or [*l, x, *r]: r and l bind lists of what is left over; a call in the place of
# a list matches all results of one operator, in order: cat(split(x, n, d), d).
# Numbers match numbers of their value: 0 is 0 and 0.0, not -0.0.  Arguments that are not mentioned must
# have their defaults; those about layout, device and memory format may be anything.
# Commutative operators match both ways.
#
# The condition is evaluated over the names, and `result`, of which the type is known.
#   single_use(x)  nothing else reads x
#   exact(d, e)    every value of dtype d is one of e
#   represents(d, c)  the number c is a value of dtype d
#   power2(c)      c is a power of two and 1/c is exact
# The replacement must have the shape and dtype of the result; if it has not, the rule
# does not apply.  So mul(x, 1) => x needs no word about dtypes and broadcasting.
#
# Every rule must hold bit for bit, on NaN, infinities, both zeros and denormals
# too, but for the sign and payload of a NaN.  `fast` ones need not; they run under -ffast-math only.
# test_rules tries each on such values; it finds the arguments itself.

# ---- neutral elements ------------------------------------------------------------------

rule mul_one        mul(x, 1) => x
rule div_one        div(x, 1) => x
rule sub_zero       sub(x, 0) => x
rule add_minus_zero add(x, -0.0) => x
rule add_zero_int   add(x, 0) => x when x.dtype.isint
rule pow_one        pow(x, 1) => x
rule pow_two        pow(x, 2) => mul(x, x)
rule pow_half       pow(x, 0.5) => sqrt(x)
rule mul_zero_int   mul(x, 0) => full(result.shape, 0, dtype=result.dtype) when result.dtype.isint
rule sub_self_int   sub(x, x) => full(result.shape, 0, dtype=result.dtype) when result.dtype.isint

# ---- signs --------------------------------------------------------------------------------

rule neg_neg        neg(neg(x)) => x
rule mul_minus_one  mul(x, -1) => neg(x) when x.dtype == result.dtype
rule div_minus_one  div(x, -1) => neg(x) when x.dtype == result.dtype
rule add_neg        add(x, neg(y)) => sub(x, y) when x.dtype == y.dtype
rule sub_neg        sub(x, neg(y)) => add(x, y) when x.dtype == y.dtype
rule mul_neg_neg    mul(neg(x), neg(y)) => mul(x, y) when x.dtype == y.dtype
rule div_neg_neg    div(neg(x), neg(y)) => div(x, y) when x.dtype == y.dtype and x.dtype.isfloat
rule abs_neg        abs(neg(x)) => abs(x) when x.dtype != u8

# ---- what is done twice ----------------------------------------------------------------------

rule relu_relu      relu(relu(x)) => relu(x)
rule abs_abs        abs(abs(x)) => abs(x)
rule relu_abs       relu(abs(x)) => abs(x) when x.dtype.isfloat
rule floor_floor    floor(floor(x)) => floor(x)
rule ceil_ceil      ceil(ceil(x)) => ceil(x)
rule trunc_trunc    trunc(trunc(x)) => trunc(x)
rule round_round    round(round(x)) => round(x)
rule sign_sign      sign(sign(x)) => sign(x)
rule clamp_clamp    clamp(clamp(x, a, b), a, b) => clamp(x, a, b)
rule max_self       maximum(x, x) => x
rule min_self       minimum(x, x) => x
rule max_max        maximum(maximum(x, y), y) => maximum(x, y) when result.dtype.isint
rule min_min        minimum(minimum(x, y), y) => minimum(x, y) when result.dtype.isint
rule and_self       bitwise_and(x, x) => x
rule or_self        bitwise_or(x, x) => x
rule not_not        bitwise_not(bitwise_not(x)) => x
rule lnot_lnot      logical_not(logical_not(x)) => x
rule land_self      logical_and(x, x) => x
rule lor_self       logical_or(x, x) => x
rule where_same     where(u, x, x) => x when u.dtype == b8
rule where_not      where(logical_not(u), x, y) => where(u, y, x) when u.dtype == b8
rule eq_self_int    eq(x, x) => full(result.shape, True, dtype=b8) when x.dtype.isint
rule ne_self_int    ne(x, x) => full(result.shape, False, dtype=b8) when x.dtype.isint

# ---- comparisons turned round: exact with NaN on neither side, so integers alone --------------------

rule not_lt         logical_not(lt(x, y)) => ge(x, y) when x.dtype.isint and y.dtype.isint
rule not_le         logical_not(le(x, y)) => gt(x, y) when x.dtype.isint and y.dtype.isint
rule not_gt         logical_not(gt(x, y)) => le(x, y) when x.dtype.isint and y.dtype.isint
rule not_ge         logical_not(ge(x, y)) => lt(x, y) when x.dtype.isint and y.dtype.isint
rule not_eq         logical_not(eq(x, y)) => ne(x, y)
rule not_ne         logical_not(ne(x, y)) => eq(x, y)

# ---- strength -----------------------------------------------------------------------------------------

rule rsqrt          reciprocal(sqrt(x)) => rsqrt(x) when x.dtype in [f32, f64]
rule div_power2     div(x, c) => mul(x, 1/c) when power2(c) and c != 1 and c != -1 and result.dtype.isfloat

# ---- casts ------------------------------------------------------------------------------------------------

rule cast_prim      convert_element_type(x, d) => _to_copy(x, dtype=d)
rule cast_same      _to_copy(x, dtype=d) => x
rule cast_cast      _to_copy(_to_copy(x, dtype=d), dtype=e) => _to_copy(x, dtype=e)
                    when d is not None and e is not None and exact(x.dtype, d) and
                         (x.dtype == e or exact(x.dtype, e) or (x.dtype.isfloat and e.isfloat) or
                          (x.dtype.isint and d.isint))
rule clone_clone    clone(clone(x)) => clone(x)

# ---- reductions --------------------------------------------------------------------------------------------

rule view_sum       view(sum(x, a, True), b) => sum(x, a)
rule view_mean      view(mean(x, a, True), b) => mean(x, a)
rule view_amax      view(amax(x, a, True), b) => amax(x, a)
rule view_amin      view(amin(x, a, True), b) => amin(x, a)
rule squeeze_sum    squeeze(sum(x, a, True), b) => sum(x, a)
rule squeeze_mean   squeeze(mean(x, a, True), b) => mean(x, a)
rule squeeze_amax   squeeze(amax(x, a, True), b) => amax(x, a)
rule squeeze_amin   squeeze(amin(x, a, True), b) => amin(x, a)

# ---- fast ------------------------------------------------------------------------------------------------------

rule add_zero       add(x, 0) => x fast
rule sub_self       sub(x, x) => full(result.shape, 0, dtype=result.dtype) fast
rule mul_zero       mul(x, 0) => full(result.shape, 0, dtype=result.dtype) fast
rule exp_log        exp(log(x)) => x fast
rule log_exp        log(exp(x)) => x fast
rule sqrt_square    sqrt(mul(x, x)) => abs(x) fast
rule div_const      div(x, c) => mul(x, 1/c) fast when c != 0 and not power2(c) and result.dtype.isfloat
rule div_sqrt       div(x, sqrt(y)) => mul(x, rsqrt(y)) fast when x.dtype == y.dtype
rule rsqrt_of       reciprocal(sqrt(x)) => rsqrt(x) fast
rule mul_mul        mul(mul(x, a), b) => mul(x, a*b) fast when x.dtype.isfloat
rule add_add        add(add(x, a), b) => add(x, a + b) fast when x.dtype.isfloat
rule mul_div        div(mul(x, y), y) => x fast when y.dtype.isfloat
rule silu_of        mul(x, sigmoid(x)) => silu(x) fast when x.dtype.isfloat
