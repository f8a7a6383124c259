#!/usr/bin/env python3
"""LoopLM training step in PyTorch (CPU), as a server that a benchmark drives by JSON lines.

The opponent of the train-step benchmark: the same model, objective and optimiser, tuned the way
a PyTorch user would tune it for a CPU (see README.md beside this file for the protocol and the
tuning). It knows nothing of looplm: it reads Hugging Face tensor names and a config.

Letters: B rows, T tokens, N = B*T, D hidden, H query heads, K key-value heads, d head dim,
F MLP width, V vocabulary, R loops.
"""

import json
import math
import re
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F

LEARNING_RATE = 1e-3
BETAS = (0.9, 0.95)
EPS = 1e-8
WEIGHT_DECAY = 0.1
MAX_GRAD_NORM = 1.0
IGNORED = -100


def libraries():
    """What multiplies matrices, such as {"BLAS": "mkl 2024.2", "oneDNN": "v3.13.3"}."""
    text = torch.__config__.show()

    def find(pattern):
        found = re.search(pattern, text)
        return found[1] if found else "unknown"

    blas, version = find("BLAS_INFO=([a-z]+)"), find(r"Math Kernel Library Version ([\d.]+)")
    return {"BLAS": f"{blas} {version}", "oneDNN": find(r"MKL-DNN (v[\d.]+)")}


class RMSNorm(torch.autograd.Function):
    """w * x / sqrt(mean(x^2) + eps) in f32, with a backward of few passes over memory."""

    @staticmethod
    def forward(ctx, x, weight, eps):
        ctx.input_dtype = x.dtype
        x = x.float()
        scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = scale.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        normed = x * scale
        ctx.save_for_backward(normed, scale, weight)
        return normed * weight

    @staticmethod
    def backward(ctx, grad):
        normed, scale, weight = ctx.saved_tensors
        product = grad * normed
        mean = torch.mv(product, weight).div_(-weight.shape[0]).unsqueeze_(-1)
        grad_x = (grad * weight).addcmul_(normed, mean).mul_(scale)
        return grad_x.to(ctx.input_dtype), product.sum(0), None


def rotate(x, cos, sin, out):
    """Rotate-half RoPE of x [B, T, heads, d] into out of the same shape."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    torch.mul(a, cos, out=out[..., :half]).addcmul_(b, sin, value=-1)
    torch.mul(b, cos, out=out[..., half:]).addcmul_(a, sin)


class Rope(torch.autograd.Function):
    """RoPE from [B, T, heads, d] to contiguous [B, heads, T, d]: the transposition is free."""

    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        B, T, heads, d = x.shape
        out = torch.empty(B, heads, T, d, dtype=x.dtype)
        rotate(x, cos, sin, out.transpose(1, 2))
        return out

    @staticmethod
    def backward(ctx, grad):
        cos, sin = ctx.saved_tensors
        B, heads, T, d = grad.shape
        out = torch.empty(B, T, heads, d, dtype=grad.dtype)
        rotate(grad.transpose(1, 2), cos, -sin, out)
        return out, None, None


class TokenCrossEntropy(torch.autograd.Function):
    """Cross-entropy of every row in f32; the backward overwrites the saved log-probabilities."""

    @staticmethod
    def forward(ctx, logits, targets):
        ctx.input_dtype = logits.dtype
        logprobs = torch.log_softmax(logits, -1, dtype=torch.float32)
        ctx.save_for_backward(logprobs, targets)
        return logprobs.gather(-1, targets).squeeze(-1).neg_()

    @staticmethod
    def backward(ctx, grad):
        logprobs, targets = ctx.saved_tensors
        grad = grad.unsqueeze(-1)
        grad_logits = logprobs.exp_().mul_(grad).scatter_add_(-1, targets, -grad)
        return grad_logits.to(ctx.input_dtype), None


def plain_rope(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).transpose(1, 2)


def plain_layer(x, w, cos, sin, B, config):
    """A layer in plain formulas: what torch.compile fuses by itself."""
    H, K, d = config["numAttentionHeads"], config["numKeyValueHeads"], config["headDim"]
    T = x.shape[0] // B

    def norm(x, name):
        return F.rms_norm(x, (x.shape[-1],), w[name + ".weight"], config["rmsNormEps"])

    def project(y, name, heads):
        return F.linear(y, w[f"self_attn.{name}_proj.weight"]).view(B, T, heads, d)

    y = norm(x, "input_layernorm")
    q = plain_rope(project(y, "q", H), cos, sin)
    k = plain_rope(project(y, "k", K), cos, sin)
    v = project(y, "v", K).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=H != K)
    heads = mixed.transpose(1, 2).reshape(B * T, H * d)
    x = x + norm(F.linear(heads, w["self_attn.o_proj.weight"]), "input_layernorm_2")
    y = norm(x, "post_attention_layernorm")
    gate = F.silu(F.linear(y, w["mlp.gate_proj.weight"]))
    inner = gate * F.linear(y, w["mlp.up_proj.weight"])
    return x + norm(F.linear(inner, w["mlp.down_proj.weight"]), "post_attention_layernorm_2")


class LoopLM:
    """Weights in the Hugging Face layout (a dict by name) and the Stage I loss on them."""

    def __init__(self, config, length, dtype, seed, compiled=False):
        self.config = config
        # One compilation serves all layers and loops: they differ in their inputs only.
        self.compiled_layer = torch.compile(plain_layer) if compiled else None
        self.dtype = dtype
        self.weights = initial_weights(config, seed)
        d = config["headDim"]
        angles = torch.outer(
            torch.arange(length, dtype=torch.float64),
            config["ropeTheta"] ** (-torch.arange(0, d, 2, dtype=torch.float64) / d),
        )
        self.cos = angles.cos().unsqueeze(1).to(dtype)  # [T, 1, d/2]
        self.sin = angles.sin().unsqueeze(1).to(dtype)

    def norm(self, x, name):
        return RMSNorm.apply(x, self.weights[name + ".weight"], self.config["rmsNormEps"])

    def attention(self, y, prefix, B):
        c, w = self.config, self.weights
        H, K, d = c["numAttentionHeads"], c["numKeyValueHeads"], c["headDim"]
        T = y.shape[0] // B
        q = F.linear(y, w[prefix + "q_proj.weight"]).view(B, T, H, d)
        k = F.linear(y, w[prefix + "k_proj.weight"]).view(B, T, K, d)
        v = F.linear(y, w[prefix + "v_proj.weight"]).view(B, T, K, d)
        q = Rope.apply(q, self.cos, self.sin)  # [B, H, T, d]
        k = Rope.apply(k, self.cos, self.sin)
        v = v.transpose(1, 2)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=H != K)
        out = out.transpose(1, 2).reshape(B * T, H * d)
        return F.linear(out, w[prefix + "o_proj.weight"])

    def mlp(self, y, prefix):
        w = self.weights
        gate = F.silu(F.linear(y, w[prefix + "gate_proj.weight"]))
        up = F.linear(y, w[prefix + "up_proj.weight"])
        return F.linear(gate * up, w[prefix + "down_proj.weight"])

    def layer(self, x, index, B):
        p = f"model.layers.{index}."
        if self.compiled_layer:
            own = {name[len(p) :]: w for name, w in self.weights.items() if name.startswith(p)}
            return self.compiled_layer(x, own, self.cos, self.sin, B, self.config)
        attended = self.attention(self.norm(x, p + "input_layernorm"), p + "self_attn.", B)
        x = x + self.norm(attended, p + "input_layernorm_2")
        fed = self.mlp(self.norm(x, p + "post_attention_layernorm"), p + "mlp.")
        return x + self.norm(fed, p + "post_attention_layernorm_2")

    def stage1(self, ids, targets, beta):
        """ids, targets [B, T] -> loss, expected CE, entropy, CE per loop (means over counted)."""
        c, w = self.config, self.weights
        counted = (targets != IGNORED).flatten()
        labels = targets.flatten().clamp_min(0).unsqueeze(-1)
        head = w["model.embed_tokens.weight" if c["tieWordEmbeddings"] else "lm_head.weight"]
        gate_weight = w["model.early_exit_gate.weight"].view(-1)
        x = F.embedding(ids.flatten(), w["model.embed_tokens.weight"])
        ces, gates = [], []
        for _ in range(c["numLoops"]):
            for index in range(c["numHiddenLayers"]):
                x = self.layer(x, index, ids.shape[0])
            x = self.norm(x, "model.norm")
            gates.append(torch.addmv(w["model.early_exit_gate.bias"], x, gate_weight))
            ces.append(TokenCrossEntropy.apply(F.linear(x, head), labels))
        ce = torch.stack(ces)  # [R, N]
        log_p = log_exit_pdf(torch.stack(gates))
        p = log_p.exp()
        share = counted.float() / counted.sum()
        expected = ((p * ce).sum(0) * share).sum()
        entropy = -((p * log_p).sum(0) * share).sum()
        return expected - beta * entropy, expected, entropy, (ce.detach() * share).sum(-1)


def log_exit_pdf(gates):
    """Gate logits [R, N] -> log of the exit distribution [R, N]; the last gate is not used."""
    stop, go_on = F.logsigmoid(gates[:-1]), F.logsigmoid(-gates[:-1]).cumsum(0)
    none = torch.zeros_like(gates[:1])
    return torch.cat([stop, none]) + torch.cat([none, go_on])


def weight_shapes(config):
    D, F_, V = config["hiddenSize"], config["intermediateSize"], config["vocabSize"]
    queries = config["numAttentionHeads"] * config["headDim"]
    keys = config["numKeyValueHeads"] * config["headDim"]
    shapes = {"model.embed_tokens.weight": (V, D)}
    for index in range(config["numHiddenLayers"]):
        p = f"model.layers.{index}."
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[p + name + ".weight"] = (D,)
            shapes[p + name + "_2.weight"] = (D,)
        shapes[p + "self_attn.q_proj.weight"] = (queries, D)
        shapes[p + "self_attn.k_proj.weight"] = (keys, D)
        shapes[p + "self_attn.v_proj.weight"] = (keys, D)
        shapes[p + "self_attn.o_proj.weight"] = (D, queries)
        shapes[p + "mlp.gate_proj.weight"] = (F_, D)
        shapes[p + "mlp.up_proj.weight"] = (F_, D)
        shapes[p + "mlp.down_proj.weight"] = (D, F_)
    shapes["model.norm.weight"] = (D,)
    shapes["model.early_exit_gate.weight"] = (1, D)
    shapes["model.early_exit_gate.bias"] = (1,)
    if not config["tieWordEmbeddings"]:
        shapes["lm_head.weight"] = (V, D)
    return shapes


def initial_weights(config, seed):
    """Matrices from a normal distribution with deviation 0.02, norms 1, gate bias 0."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in weight_shapes(config).items():
        if len(shape) == 2:
            tensor = torch.empty(shape).normal_(0, 0.02, generator=generator)
        else:
            tensor = torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
        weights[name] = tensor.requires_grad_()
    return weights


def read_safetensors(path):
    """Name -> f32 tensor of a safetensors file with F32 or BF16 tensors."""
    data = bytearray(Path(path).read_bytes())
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F32": torch.float32, "BF16": torch.bfloat16}
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in types:
            raise ValueError(f"{path}: {name} is {entry['dtype']}; F32 and BF16 can be read")
        begin, end = entry["data_offsets"]
        raw = torch.frombuffer(data[start + begin : start + end], dtype=types[entry["dtype"]])
        tensors[name] = raw.float().reshape(entry["shape"])
    return tensors


def best_product(size, dtype):
    """GFLOP/s of products of [size, size]: the best of a few, what this library can do here."""
    a, b = torch.randn(2, size, size).to(dtype)
    best = math.inf
    for _ in range(6):
        start = time.perf_counter()
        torch.mm(a, b)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


class Trainer:
    """A model, its optimiser and the training step that is timed."""

    def __init__(self, request, checkpoints):
        self.beta = request["beta"]
        self.dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[request["dtype"]]
        torch.set_num_threads(request["threads"])
        self.shape = (request["rows"], request["length"])
        self.model = LoopLM(
            request["config"],
            request["length"],
            self.dtype,
            request["seed"],
            request.get("compiled", False),
        )
        if checkpoints:
            self.load(checkpoints)
        parameters = list(self.model.weights.values())
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.dim() == 2], "weight_decay": WEIGHT_DECAY},
                {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
            ],
            lr=LEARNING_RATE,
            betas=BETAS,
            eps=EPS,
            foreach=True,
        )
        self.parameters = parameters
        self.generator = torch.Generator().manual_seed(request["seed"])

    def load(self, paths):
        tensors = {}
        for path in paths:
            tensors.update(read_safetensors(path))
        with torch.no_grad():
            for name, weight in self.model.weights.items():
                tensor = tensors[name]
                if tensor.shape != weight.shape:
                    raise ValueError(f"{name} is {tuple(tensor.shape)}, not {tuple(weight.shape)}")
                weight.copy_(tensor)

    def batch(self, request):
        """ids and targets of a request, or random ones [rows, length]."""
        vocab = self.model.config["vocabSize"]
        return [
            torch.tensor(request[key], dtype=torch.int64).reshape(self.shape)
            if key in request
            else torch.randint(vocab, self.shape, generator=self.generator)
            for key in ("ids", "targets")
        ]

    def autocast(self):
        if self.dtype == torch.float32:
            return nullcontext()
        return torch.autocast("cpu", self.dtype)

    def step(self, ids, targets):
        """One training step; returns the loss before it and the gradient norm before clipping."""
        with self.autocast():
            loss, *_ = self.model.stage1(ids, targets, self.beta)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, MAX_GRAD_NORM)
        self.optimizer.step()
        return loss.item(), norm.item()


def serve():
    request = json.loads(sys.stdin.readline())
    checkpoint = request.get("checkpoint")
    trainer = Trainer(request, [checkpoint] if checkpoint else [])
    reply({"versions": {"torch": torch.__version__, **libraries()}})
    for line in sys.stdin:
        request = json.loads(line)
        if request.get("quit"):
            return
        if "product" in request:
            reply({"gflops": best_product(request["product"], trainer.dtype)})
            continue
        ids, targets = trainer.batch(request)
        seconds, losses = [], []
        for _ in range(request["trainSteps"]):
            start = time.perf_counter()
            loss, _ = trainer.step(ids, targets)
            seconds.append(time.perf_counter() - start)
            losses.append(loss)
        reply({"seconds": seconds, "losses": losses})


def reply(message):
    print(json.dumps(message), flush=True)


def self_test(folder, threads, compiled):
    """Compare with the goldens of a fixture folder in f32; returns the number of misses."""
    folder = Path(folder)
    hf = json.loads((folder / "config.json").read_text())
    golden = json.loads((folder / "golden.json").read_text())
    ids, targets = (torch.tensor(golden["train"][key]) for key in ("ids", "targets"))
    config = {
        "hiddenSize": hf["hidden_size"],
        "intermediateSize": hf["intermediate_size"],
        "numHiddenLayers": hf["num_hidden_layers"],
        "numAttentionHeads": hf["num_attention_heads"],
        "numKeyValueHeads": hf["num_key_value_heads"],
        "headDim": hf.get("head_dim", hf["hidden_size"] // hf["num_attention_heads"]),
        "vocabSize": hf["vocab_size"],
        "ropeTheta": hf["rope_theta"],
        "rmsNormEps": hf["rms_norm_eps"],
        "numLoops": hf["total_ut_steps"],
        "tieWordEmbeddings": hf["tie_word_embeddings"],
    }
    request = {
        "config": config,
        "rows": ids.shape[0],
        "length": ids.shape[1],
        "dtype": "f32",
        "threads": threads,
        "seed": 1,
        "compiled": compiled,
        "beta": golden["adamw"]["beta"],
    }
    trainer = Trainer(request, sorted(folder.glob("model*.safetensors")))
    checks = []
    for expected in golden["stage1"]:
        beta = expected["beta"]
        *means, ce = trainer.model.stage1(ids, targets, beta)
        for name, got in zip(("loss", "expected_ce", "entropy"), means):
            checks.append((f"stage1 beta {beta} {name}", got.item(), expected[name], 2e-5))
        for depth, (got, want) in enumerate(zip(ce.tolist(), expected["ce_per_loop"]), 1):
            checks.append((f"stage1 beta {beta} ce at depth {depth}", got, want, 2e-5))
    norms = golden["adamw"]["grad_norms"] + [None]
    for n, (want_loss, want_norm) in enumerate(zip(golden["adamw"]["losses"], norms)):
        loss, norm = trainer.step(ids, targets)
        checks.append((f"adamw losses[{n}]", loss, want_loss, 2e-5))
        if want_norm is not None:
            checks.append((f"adamw grad_norms[{n}]", norm, want_norm, 5e-4))
    misses = 0
    for name, got, want, tolerance in checks:
        right = abs(got - want) <= tolerance
        misses += not right
        print(f"{'ok  ' if right else 'MISS'} {name}: {got:.7f}, golden {want:.7f}")
    print(f"{len(checks) - misses} passed, {misses} failed")
    return misses


def main(arguments):
    if not arguments:
        return serve()
    compiled = arguments[2:] == ["--compiled"]
    if arguments[0] == "--self-test" and len(arguments) == (3 if compiled else 2):
        return 1 if self_test(arguments[1], threads=2, compiled=compiled) else 0
    print("usage: torch_step.py [--self-test FIXTURE_FOLDER [--compiled]]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
