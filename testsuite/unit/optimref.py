#!/usr/bin/env python3
"""optimref.h: parameters after some steps of torch.optim, for test_optim.c.

    python3 optimref.py > optimref.h

Parameters and gradients are small dyadic fractions, so that both sides start from the same.
"""
import torch

STEPS, SHAPES = 4, [(3, 2), (5,)]
CASES = [
    ("sgd", {}), ("sgd", {"momentum": 0.9}), ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("sgd", {"momentum": 0.8, "dampening": 0.5, "maximize": True, "lr": 0.05}),
    ("adam", {}), ("adam", {"amsgrad": True, "weight_decay": 0.1, "lr": 0.01, "eps": 1e-6}),
    ("adam", {"betas": (0.7, 0.95), "maximize": True, "lr": 0.1}),
    ("adamw", {}), ("adamw", {"lr": 0.02, "weight_decay": 0.2, "betas": (0.8, 0.9), "amsgrad": True}),
    ("rmsprop", {}), ("rmsprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.05}), ("rmsprop", {"centered": True, "alpha": 0.9}),
    ("adagrad", {}), ("adagrad", {"lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "lr": 0.1}),
    ("lion", {}), ("lion", {"lr": 0.01, "weight_decay": 0.1, "betas": (0.6, 0.8)}),
    ("sgd", {"clip": 0.5, "lr": 0.1}), ("adamw", {"clip": 1.0}), ("sgd", {"clip_value": 0.25, "clip": 0.75, "lr": 0.1}), ("sgd", {"clip": 100.0}),
]


class Lion(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                if group["weight_decay"]:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                update = m.clone().mul_(b1).add_(p.grad, alpha=1 - b1).sign_()
                p.add_(update, alpha=-group["lr"])
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


CLASS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop,
         "adagrad": torch.optim.Adagrad, "lion": Lion}


def start(shape, k, dtype):
    n = torch.arange(torch.Size(shape).numel())
    return (((5 * n + 3 + k) % 11 - 5) / 8).reshape(shape).to(dtype)


def gradient(shape, k, step, dtype):
    n = torch.arange(torch.Size(shape).numel())
    return (((7 * n + 13 * step + 3 * k) % 17 - 8) / 16).reshape(shape).to(dtype)


def run(name, options, dtype):
    options = dict(options)
    clip, value = options.pop("clip", 0), options.pop("clip_value", 0)
    ps = [torch.nn.Parameter(start(s, k, dtype)) for k, s in enumerate(SHAPES)]
    opt = CLASS[name](ps, **options)
    for step in range(STEPS):
        for k, p in enumerate(ps):
            p.grad = gradient(SHAPES[k], k, step, dtype)
        if value:
            torch.nn.utils.clip_grad_value_(ps, value)
        if clip:
            torch.nn.utils.clip_grad_norm_(ps, clip)
        opt.step()
    return torch.cat([p.detach().double().flatten() for p in ps]).tolist()


def text(name, options):
    def one(k, v):
        if k == "betas":
            return f"betas={v[0]},{v[1]}"
        return f"{k}={str(v).lower() if isinstance(v, bool) else v}"
    return name + (":" if options else "") + ",".join(one(k, v) for k, v in options.items())


print("/* optimref.h - made by optimref.py with torch %s. */" % torch.__version__.split("+")[0])
for name, options in CASES:
    for ours, dtype in (("F32", torch.float32), ("BF16", torch.bfloat16), ("F64", torch.float64)):
        lr = options.get("lr", {"rmsprop": 1e-2, "adagrad": 1e-2, "lion": 1e-4}.get(name, 1e-3))
        print('{"%s", Dt%s, %r, {' % (text(name, options), ours, lr) + ", ".join(float(x).hex() for x in run(name, options, dtype)) + "}},")
