# patterns.pat - products and sums in the form that has the best code.
# simplify.pat says how rules are written.

# One batch needs no batch.
rule bmm_to_mm      bmm(x, y) => unsqueeze(mm(squeeze(x, 0), squeeze(y, 0)), 0) when x.shape[0] == 1 and y.shape[0] == 1
