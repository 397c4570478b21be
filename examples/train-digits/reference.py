"""Make what this folder ships, and train the same network with PyTorch.

    pip install torch scikit-learn safetensors
    python reference.py

Writes train.fxg (forward and loss as text, for fxcc --train), start.safetensors (the random
weights that training starts from), images.npy and labels.npy (the 1437 digits to learn from, as
bytes), then trains as train.c does and writes losses.txt: the loss of every step.
"""
import math, os, re, subprocess, sys
import numpy as np, torch
from torch import nn
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

BATCH, EPOCHS, LR = 64, 20, 3e-3

torch.manual_seed(3)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(32)
        self.fc1 = nn.Linear(32 * 4, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, image):
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(image))), 2)
        x = torch.max_pool2d(torch.relu(self.bn2(self.conv2(x))), 2)
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


class Train(nn.Module):
    """The loss of a batch."""

    def __init__(self, m):
        super().__init__()
        for name, child in m.named_children():
            setattr(self, name, child)

    def forward(self, image, label):
        return nn.functional.cross_entropy(Digits.forward(self, image), label, label_smoothing=0.05)


def shuffles(n):
    """The order of the images in each epoch, as train.c makes it: a linear congruential generator shuffles."""
    x, order = 1, list(range(n))
    while True:
        for i in range(n - 1, 0, -1):
            x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
            j = (x >> 33) % (i + 1)
            order[i], order[j] = order[j], order[i]
        yield list(order)


def export(m, image, label, fxcc):
    ep = torch.export.export(m, (image, label))
    for node in ep.graph.nodes:      # say where in the program a node comes from, not where this machine keeps it
        if node.meta.get("stack_trace"):
            node.meta["stack_trace"] = re.sub(r'File "/\S*/(site-packages/\S+|[^/\s]+)"', r'File "\1"', node.meta["stack_trace"])
    torch.export.save(ep, "train.pt2")
    text = subprocess.run([fxcc, "-S=graph", "train.pt2", "-o", "-"], check=True, capture_output=True, text=True).stdout
    os.remove("train.pt2")
    lines = text.splitlines(True)
    lines.insert(1, '#fxg weights "start.safetensors"\n')
    open("train.fxg", "w").write("".join(line for line in lines if "train.pt2" not in line))


def main():
    d = load_digits()
    x, h, y, yh = train_test_split(d.images.astype(np.uint8)[:, None], d.target, test_size=360, random_state=1, stratify=d.target)
    np.save("images.npy", x)
    np.save("labels.npy", y.astype(np.uint8))
    x, y = torch.from_numpy(x.astype(np.float32) / 16), torch.from_numpy(y.astype(np.int64))
    m = Train(Digits()).train()
    save_file({k: v.contiguous() for k, v in m.state_dict().items()}, "start.safetensors")
    export(m, x[:BATCH], y[:BATCH], sys.argv[1] if len(sys.argv) > 1 else "fxcc")

    opt = torch.optim.AdamW(m.parameters(), LR, weight_decay=1e-2)
    steps = EPOCHS * (len(x) // BATCH)
    losses, order = [], shuffles(len(x))
    for epoch in range(EPOCHS):
        o = next(order)
        for b in range(len(x) // BATCH):
            i = o[b * BATCH:(b + 1) * BATCH]
            opt.param_groups[0]["lr"] = LR * 0.5 * (1 + math.cos(math.pi * len(losses) / steps))
            opt.zero_grad()
            loss = m(x[i], y[i])
            loss.backward()
            opt.step()
            losses.append(loss.item())
    open("losses.txt", "w").write("".join("%.9g\n" % v for v in losses))
    m.eval()
    with torch.no_grad():
        out = Digits.forward(m, torch.from_numpy(h.astype(np.float32) / 16))
    right = int((out.argmax(1).numpy() == yh).sum())
    print(f"last loss {losses[-1]:.6f}; {right} of {len(yh)} held-out digits right ({100 * right / len(yh):.2f} %)")


main()
