"""Train the digits CNN and write everything that this folder ships.

    pip install torch scikit-learn safetensors
    python train.py

Writes digits.pt2 (torch.export), digits.safetensors (its weights), images.npy and
labels.npy (held-out digits, which training never sees) and expected.npy (PyTorch's
logits for them).  digits.fxg, the same model as text, is then made by
`fxcc -S=graph digits.pt2 -o digits.fxg`.
"""
import re
import re
import numpy as np, torch
from torch import nn
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

torch.manual_seed(1)
torch.use_deterministic_algorithms(True)


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


def main():
    d = load_digits()
    x = (d.images / 16).astype(np.float32)[:, None]
    xt, xh, yt, yh = train_test_split(x, d.target.astype(np.int64), test_size=360, random_state=1, stratify=d.target)
    m = Digits()
    opt = torch.optim.AdamW(m.parameters(), 3e-3, weight_decay=1e-2)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 60)
    xt, yt = torch.from_numpy(xt), torch.from_numpy(yt)
    for epoch in range(60):
        m.train()
        for i in torch.randperm(len(xt)).split(64):
            opt.zero_grad()
            nn.functional.cross_entropy(m(xt[i]), yt[i], label_smoothing=0.05).backward()
            opt.step()
        sched.step()
    m.eval()
    with torch.no_grad():
        out = m(torch.from_numpy(xh))
    right = int((out.argmax(1).numpy() == yh).sum())
    print(f"{right} of {len(yh)} held-out digits right ({100 * right / len(yh):.2f} %)")
    n = torch.export.Dim("n", min=1, max=4096)
    ep = torch.export.export(m, (torch.from_numpy(xh[:8]),), dynamic_shapes={"image": {0: n}})
    for node in ep.graph.nodes:      # say where in the program a node comes from, not where this machine keeps it
        if node.meta.get("stack_trace"):
            node.meta["stack_trace"] = re.sub(r'File "/\S*/(site-packages/\S+|[^/\s]+)"', r'File "\1"', node.meta["stack_trace"])
    torch.export.save(ep, "digits.pt2")
    save_file({k: v.contiguous() for k, v in m.state_dict().items()}, "digits.safetensors")
    np.save("images.npy", xh)
    np.save("labels.npy", yh)
    np.save("expected.npy", out.numpy())


main()
