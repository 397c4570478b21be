"""One training step of fxcc side by side with torch.compile, on 1 and 2 threads.

usage: train.py BUILDDIR [-t THREADS,...] [-n ROUNDS] [MODEL...]

Both run in one process in interleaved rounds, after their losses and gradients have been
compared; best and median of the rounds in microseconds, and torch's time over fxcc's.  "grad" is
forward and backward, "step" these and AdamW (torch's is the fused one).  Needs torch.
"""
import argparse, ctypes, os, subprocess, sys, tempfile, time, warnings, logging
warnings.filterwarnings("ignore")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
try:
    import numpy as np
    import torch
    from torch import nn
except ImportError as e:
    print(f"bench-train: skipped: {e}")
    sys.exit(0)
logging.getLogger("torch").setLevel(logging.ERROR)


class Loss(nn.Module):
    def __init__(s, m):
        super().__init__()
        s.m = m

    def forward(s, x, y):
        return nn.functional.cross_entropy(s.m(x).flatten(0, -2), y.flatten())


class Block(nn.Module):
    def __init__(s, d, heads):
        super().__init__()
        s.heads = heads
        s.n1, s.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        s.qkv, s.o = nn.Linear(d, 3 * d), nn.Linear(d, d)
        s.up, s.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(s, x):
        b, t, d = x.shape
        q, k, v = s.qkv(s.n1(x)).view(b, t, 3, s.heads, d // s.heads).permute(2, 0, 3, 1, 4)
        a = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + s.o(a.transpose(1, 2).reshape(b, t, d))
        return x + s.down(nn.functional.gelu(s.up(s.n2(x))))


class Gpt(nn.Module):
    """Two layers of GPT-2's kind."""
    def __init__(s, d, heads, vocab, t):
        super().__init__()
        s.word, s.pos, s.norm = nn.Embedding(vocab, d), nn.Embedding(t, d), nn.LayerNorm(d)
        s.layers = nn.ModuleList(Block(d, heads) for _ in range(2))
        s.head = nn.Linear(d, vocab, bias=False)

    def forward(s, ids):
        x = s.word(ids) + s.pos(torch.arange(ids.shape[1]))
        for l in s.layers:
            x = l(x)
        return s.head(s.norm(x))


def mlp(batch, *sizes):
    layers = []
    for a, b in zip(sizes, sizes[1:]):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1]), torch.randn(batch, sizes[0]), torch.randint(0, sizes[-1], (batch,))


def gpt(b, t, d, heads, vocab):
    return Gpt(d, heads, vocab, t), torch.randint(0, vocab, (b, t)), torch.randint(0, vocab, (b, t))


MODELS = {
    "mlp_small": lambda: mlp(16, 32, 64, 64, 10),
    "mlp": lambda: mlp(64, 784, 512, 512, 10),
    "gpt2_small": lambda: gpt(2, 16, 128, 4, 500),
    "gpt2": lambda: gpt(4, 128, 256, 8, 1000),
}

# ---- the library, by its description (lib/rt/fxcc_abi.h) ------------------------------------

P, I32, U32, U64, SZ = ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_size_t


class DLTensor(ctypes.Structure):
    _fields_ = [("data", P), ("devtype", I32), ("devid", I32), ("ndim", I32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8),
                ("lanes", ctypes.c_uint16), ("shape", P), ("strides", P), ("offset", U64)]


class Info(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("fqn", ctypes.c_char_p), ("dtype", U32), ("ndim", I32), ("kind", I32), ("dim", P),
                ("flags", U32), ("offset", U64), ("nbytes", U64), ("sha", ctypes.c_uint8 * 32)]


class Module(ctypes.Structure):
    _fields_ = [("major", U32), ("minor", U32), ("size", U32), ("flags", U32), ("signature", U64)] + \
        [(n, ctypes.c_char_p) for n in ("name", "version", "options", "target")] + \
        [(n, I32) for n in ("nin", "nout", "nparam", "ngrad", "nsaved", "nkernel")] + \
        [(n, ctypes.POINTER(Info)) for n in ("inp", "out", "param", "grad", "saved")] + \
        [(n, SZ) for n in ("ctx_size", "ctx_align", "arena_align")] + \
        [(n, P) for n in ("arena_need", "init", "bind", "out_shape", "forward", "backward", "fini")] + \
        [("nstate", I32), ("state", P), ("state_data", P), ("ntangent", I32)]


class Config(ctypes.Structure):
    _fields_ = [("size", U32), ("flags", U32), ("pool", P), ("alloc", P), ("arena", P), ("arena_size", SZ), ("device", I32), ("isa", I32),
                ("stream", P), ("trace", P), ("trace_self", P)]


CODES = {"float32": (2, 32), "int64": (0, 64), "float64": (2, 64)}


def tensor(a):
    code, bits = CODES[str(a.dtype)]
    shape = (ctypes.c_int64 * max(a.ndim, 1))(*a.shape)
    t = DLTensor(a.ctypes.data, 1, 0, a.ndim, code, bits, 1, ctypes.cast(shape, P), None, 0)
    t.keep = (a, shape)
    return t


def table(tensors):
    v = (ctypes.POINTER(DLTensor) * max(len(tensors), 1))(*[ctypes.pointer(t) if t is not None else None for t in tensors])
    v.keep = tensors
    return v


class Fxcc:
    def __init__(s, build, ep, args, model, threads, tmp):
        pt2, so = tmp + "/m.pt2", tmp + "/m.so"
        torch.export.save(ep, pt2)
        t = time.time()
        subprocess.run([build + "/fxcc", "--train", "--loss=out0", "--optimizer=adamw", pt2, "-o", so, "-fprefix=m", "-march=native"]
                       + (["-fthreads=pthread"] if threads > 1 else []), check=True)
        s.seconds = time.time() - t
        lib = ctypes.CDLL(so)
        lib.m_module.restype = ctypes.POINTER(Module)
        m = s.m = lib.m_module().contents
        s.err = ctypes.create_string_buffer(256)
        s.loss = np.zeros((), np.float32)
        params = dict(model.named_parameters())
        s.grads = {m.grad[i].fqn.decode(): np.zeros(tuple(params[m.grad[i].fqn.decode()].shape), np.float32) for i in range(m.ngrad)}
        s.ins, s.outs = table([tensor(a.numpy()) for a in args]), table([tensor(s.loss)])
        s.gout, s.gin = table([None] * m.ntangent), table([tensor(g) for g in s.grads.values()])
        shapes = (P * len(args))(*[t.shape for t in s.ins.keep])
        arena, saved = SZ(), SZ()
        s.fn = {n: ctypes.CFUNCTYPE(I32, *a)(getattr(m, n)) for n, a in {
            "arena_need": (P, P, P, P), "init": (P, SZ, U64, P, P, P), "forward": (P, P, P, P, P), "backward": (P, P, P, P, U32, P)}.items()}
        s.check(s.fn["arena_need"](shapes, ctypes.byref(arena), ctypes.byref(saved), s.err))
        s.mem = [np.zeros(n + 64, np.uint8) for n in (m.ctx_size, arena.value, saved.value)]
        at = [a.ctypes.data + (-a.ctypes.data) % 64 for a in s.mem]
        cfg = Config(size=ctypes.sizeof(Config), arena=at[1], arena_size=arena.value)
        s.ctx, s.saved = P(), P(at[2])
        s.check(s.fn["init"](at[0], m.ctx_size, m.signature, ctypes.byref(cfg), ctypes.byref(s.ctx), s.err))
        s.struct = (P * (m.ntangent + m.ngrad + 1))(*[None] * m.ntangent, *[g.ctypes.data for g in s.grads.values()], None)    # m_bwd
        lib.m_step.argtypes = [P, P, ctypes.c_double, P]
        s.lib = lib

    def check(s, rc):
        if rc:
            raise RuntimeError(s.err.raw[48:].split(b"\0")[0].decode())

    def grad(s):
        s.check(s.fn["forward"](s.ctx, s.ins, s.outs, s.saved, s.err))
        s.check(s.fn["backward"](s.ctx, s.saved, s.gout, s.gin, 0, s.err))
        return float(s.loss), s.grads

    def step(s):
        s.grad()
        s.check(s.lib.m_step(s.ctx, s.struct, 1e-3, s.err))


class Compiled:
    def __init__(s, build, ep, args, model, threads, tmp):
        s.m, s.a = model, args
        s.fn = torch.compile(model)
        s.opt = torch.optim.AdamW(model.parameters(), 1e-3, fused=True)
        t = time.time()
        s.grad()
        s.seconds = time.time() - t

    def grad(s):
        s.opt.zero_grad()
        loss = s.fn(*s.a)
        loss.backward()
        return float(loss), {n: p.grad.numpy() for n, p in s.m.named_parameters()}

    def step(s):
        s.opt.zero_grad()
        s.fn(*s.a).backward()
        s.opt.step()


def agree(a, b):
    if not abs(a[0] - b[0]) <= 1e-4 * max(1, abs(b[0])):
        raise RuntimeError(f"loss {a[0]} and {b[0]}")
    for n in b[1]:
        worst = float(np.abs(a[1][n] - b[1][n]).max())
        if not worst <= 1e-4 * max(1e-2, float(np.abs(b[1][n]).max())):
            raise RuntimeError(f"gradient of {n} is off by {worst}")


def bench(name, threads, opt):
    torch.manual_seed(0)
    torch.set_num_threads(threads)
    torch._dynamo.reset()
    m, x, y = MODELS[name]()
    m = Loss(m)
    ep = torch.export.export(m, (x, y))
    peers = {}
    for p, cls in {"fxcc": Fxcc, "compile": Compiled}.items():
        try:
            peers[p] = cls(opt.build, ep, (x, y), m, threads, tempfile.mkdtemp())
        except Exception as e:
            print(f"  {p}: left out: {type(e).__name__}: {str(e).splitlines()[0][:120] if str(e) else ''}", file=sys.stderr)
    if len(peers) == 2:
        agree(peers["fxcc"].grad(), peers["compile"].grad())
    for what in ("grad", "step"):
        times = {p: [] for p in peers}
        for r in range(opt.n):
            for p, peer in peers.items():
                n, t0 = 0, time.perf_counter()
                while True:
                    getattr(peer, what)()
                    n += 1
                    t = time.perf_counter() - t0
                    if t > 0.05:
                        break
                times[p].append(t / n * 1e6)
        base = min(times["fxcc"]) if "fxcc" in times else float("nan")
        for p in peers:
            v = sorted(times[p])
            print(f"{name:11s} {threads} thread{'s' if threads > 1 else ' '} {what:5s} {p:8s} best {v[0]:9.1f} us  median {v[len(v) // 2]:9.1f} us  "
                  f"over fxcc {v[0] / base:5.2f}  compile {peers[p].seconds:6.2f} s", flush=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build")
    ap.add_argument("-t", default="1,2")
    ap.add_argument("-n", type=int, default=11)
    ap.add_argument("models", nargs="*")
    opt = ap.parse_intermixed_args()
    for name in opt.models or MODELS:
        for t in opt.t.split(","):
            bench(name, int(t), opt)


main()
