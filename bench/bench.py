"""Latency of fxcc side by side with what is installed of AOTInductor, ONNX Runtime and torch.

usage: bench.py BUILDDIR [-t THREADS] [-n ROUNDS] [MODEL...]

All peers run in one process in interleaved rounds, after their outputs have been
compared; the table gives the best and the median of the rounds in microseconds, and
each peer's time over fxcc's.  Needs torch (and torchvision for resnet18); a peer that
is not installed is left out and named.
"""
import argparse, ctypes, os, subprocess, sys, tempfile, time, warnings, logging
warnings.filterwarnings("ignore")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
import numpy as np
import torch
from torch import nn
logging.getLogger("torch").setLevel(logging.ERROR)


class Layer(nn.Module):
    """A BERT encoder layer."""
    def __init__(s, h, heads, inter):
        super().__init__()
        s.h, s.heads = h, heads
        s.qkv, s.o = nn.Linear(h, 3 * h), nn.Linear(h, h)
        s.up, s.down = nn.Linear(h, inter), nn.Linear(inter, h)
        s.n1, s.n2 = nn.LayerNorm(h), nn.LayerNorm(h)

    def forward(s, x):
        b, t, h = x.shape
        q, k, v = s.qkv(x).view(b, t, 3, s.heads, h // s.heads).permute(2, 0, 3, 1, 4)
        a = nn.functional.scaled_dot_product_attention(q, k, v)
        x = s.n1(x + s.o(a.transpose(1, 2).reshape(b, t, h)))
        return s.n2(x + s.down(nn.functional.gelu(s.up(x))))


class Bert(nn.Module):
    def __init__(s, layers, h, heads, inter):
        super().__init__()
        s.word, s.pos, s.norm = nn.Embedding(1000, h), nn.Embedding(512, h), nn.LayerNorm(h)
        s.layers = nn.ModuleList(Layer(h, heads, inter) for _ in range(layers))

    def forward(s, ids):
        x = s.norm(s.word(ids) + s.pos(torch.arange(ids.shape[1])))
        for l in s.layers:
            x = l(x)
        return x


def resnet18():
    import torchvision
    m = torchvision.models.resnet18()
    for b in m.modules():
        if isinstance(b, nn.BatchNorm2d):
            b.running_mean.uniform_(-0.1, 0.1)
            b.running_var.uniform_(0.5, 1.5)
    return m, (torch.randn(1, 3, 224, 224),)


MODELS = {
    "mlp": lambda: (nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), (torch.randn(64, 784),)),
    "mlp_b1": lambda: (nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)), (torch.randn(1, 784),)),
    "resnet18": resnet18,
    "mobilenetv3s": lambda: (__import__("torchvision").models.mobilenet_v3_small(), (torch.randn(1, 3, 224, 224),)),
    "bert4": lambda: (Bert(4, 768, 12, 3072), (torch.randint(0, 1000, (1, 128)),)),
    "minilm6": lambda: (Bert(6, 384, 12, 1536), (torch.randint(0, 1000, (1, 128)),)),
    "softmax": lambda: (nn.Softmax(-1), (torch.randn(1536, 128),)),
    "layernorm": lambda: (nn.LayerNorm(768), (torch.randn(1024, 768),)),
    "mm512": lambda: (nn.Linear(512, 512), (torch.randn(512, 512),)),
    "lstm": lambda: (nn.LSTM(64, 64, batch_first=True), (torch.randn(1, 32, 64),)),
}


class Fxcc:
    """The simple entry, called through ctypes on preallocated arrays."""
    def __init__(s, build, ep, args, outs, threads, tmp):
        pt2, so = tmp + "/m.pt2", tmp + "/m.so"
        torch.export.save(ep, pt2)
        t = time.time()
        subprocess.run([build + "/fxcc", pt2, "-o", so, "-fprefix=m", "-march=native"], check=True)
        s.seconds = time.time() - t
        s.size = os.path.getsize(so)
        s.fn = ctypes.CDLL(so).m
        s.arrays = [np.ascontiguousarray(a.numpy()) for a in args]
        s.out = [np.empty(tuple(o.shape), o.numpy().dtype) for o in outs]
        s.args = [ctypes.c_void_p(a.ctypes.data) for a in s.arrays + s.out]

    def run(s):
        if s.fn(*s.args):
            raise RuntimeError("fxcc entry failed")
        return s.out


class Aoti:
    def __init__(s, build, ep, args, outs, threads, tmp):
        t = time.time()
        p = torch._inductor.aoti_compile_and_package(ep, package_path=tmp + "/a.pt2", inductor_configs={"freezing": True})
        s.seconds = time.time() - t
        s.size = os.path.getsize(p)
        s.m, s.a = torch._inductor.aoti_load_package(p), args

    def run(s):
        r = s.m(*s.a)
        return r if isinstance(r, (list, tuple)) else [r]


class Ort:
    def __init__(s, build, ep, args, outs, threads, tmp):
        import onnxruntime as ort
        t = time.time()
        torch.onnx.export(ep, (), tmp + "/m.onnx", dynamo=True, verbose=False)
        o = ort.SessionOptions()
        o.intra_op_num_threads = threads
        s.m = ort.InferenceSession(tmp + "/m.onnx", o, providers=["CPUExecutionProvider"])
        s.seconds = time.time() - t
        s.a = {i.name: a.numpy() for i, a in zip(s.m.get_inputs(), args)}

    def run(s):
        return s.m.run(None, s.a)


class Eager:
    seconds = 0

    def __init__(s, build, ep, args, outs, threads, tmp):
        s.m, s.a = ep.module(), args

    def run(s):
        with torch.no_grad():
            r = s.m(*s.a)
        return [x for x in torch.utils._pytree.tree_leaves(r)]


PEERS = {"fxcc": Fxcc, "aoti": Aoti, "ort": Ort, "eager": Eager}


def bench(name, opt):
    torch.manual_seed(0)
    m, args = MODELS[name]()
    m.eval()
    with torch.no_grad():
        outs = torch.utils._pytree.tree_leaves(m(*args))
    ep = torch.export.export(m, args)
    peers = {}
    for p in opt.peers.split(","):
        tmp = tempfile.mkdtemp()
        try:
            peers[p] = PEERS[p](opt.build, ep, args, outs, opt.t, tmp)
            for a, b in zip(peers[p].run(), outs):
                err = float(np.abs(np.asarray(a, dtype=np.float64) - b.numpy().astype(np.float64)).max())
                if not err <= 1e-3 * max(1.0, float(b.abs().max())):
                    raise RuntimeError(f"wrong result, off by {err}")
        except Exception as e:
            print(f"  {p}: left out: {type(e).__name__}: {str(e).splitlines()[0][:120] if str(e) else ''}", file=sys.stderr)
            peers.pop(p, None)
    times = {p: [] for p in peers}
    for r in range(opt.n):
        for p, x in peers.items():
            n, t0 = 0, time.perf_counter()
            while True:
                x.run()
                n += 1
                t = time.perf_counter() - t0
                if t > 0.05:
                    break
            times[p].append(t / n * 1e6)
    base = min(times["fxcc"]) if "fxcc" in times else 1.0
    for p in peers:
        v = sorted(times[p])
        print(f"{name:14s} {p:6s} best {v[0]:10.1f} us  median {v[len(v) // 2]:10.1f} us  over fxcc {v[0] / base:6.2f}  compile {peers[p].seconds:6.2f} s", flush=True)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("build")
    ap.add_argument("-t", type=int, default=1)
    ap.add_argument("-n", type=int, default=15)
    ap.add_argument("--peers", default="fxcc,aoti,ort,eager")
    ap.add_argument("models", nargs="*")
    opt = ap.parse_intermixed_args()
    torch.set_num_threads(opt.t)
    for name in opt.models or MODELS:
        bench(name, opt)


main()
