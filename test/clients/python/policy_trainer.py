"""A trainer of its own for looped policies: the model in numpy, its gradients by autograd, AdamW by hand.

It knows the released model's definition (arXiv 2510.25741) and what a server tells over HTTP, and nothing of looplm.
"""

import json
import shutil
from pathlib import Path

import autograd.numpy as anp
import numpy as np
from autograd import value_and_grad
from safetensors.numpy import load_file, save_file

LEARNING_RATE, BETA1, BETA2, EPSILON, CLIP_NORM = 1e-3, 0.9, 0.99, 1e-8, 1.0

Weights = dict[str, np.ndarray]


def log_softmax(x):
    shifted = x - anp.max(x, axis=-1, keepdims=True)
    return shifted - anp.log(anp.sum(anp.exp(shifted), axis=-1, keepdims=True))


def rms_norm(x, weight, eps: float):
    return weight * x / anp.sqrt(anp.mean(x * x, axis=-1, keepdims=True) + eps)


def rotate(x, angles: np.ndarray):
    first, second = x[..., : x.shape[-1] // 2], x[..., x.shape[-1] // 2 :]
    cos, sin = np.cos(angles), np.sin(angles)
    return anp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def write_policy(model: Path, weights: Weights, folder: Path) -> None:
    """Other weights of a model, as a server takes them: the file STABLE comes last."""
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model / name, folder)
    save_file({name: value.astype(np.float32) for name, value in weights.items()}, folder / "model.safetensors")
    (folder / "STABLE").touch()


class Policy:
    """A model folder in training: the weights in float32, the moments of the optimizer, and the policy gradient."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.config = json.loads((folder / "config.json").read_text())
        self.weights: Weights = {
            name: value.astype(np.float64) for name, value in load_file(folder / "model.safetensors").items()
        }
        self.moments = {name: (0 * value, 0 * value) for name, value in self.weights.items()}
        self.updates = 0

    def logprobs(self, weights: Weights, ids: list[int]):
        """Log-probabilities of all next tokens after each loop: [loops, positions, vocabulary]."""
        c = self.config
        heads, dim, eps = c["num_attention_heads"], c["head_dim"], c["rms_norm_eps"]
        assert c["num_key_value_heads"] == heads
        frequencies = c["rope_theta"] ** (-2 * np.arange(dim // 2) / dim)
        angles = (np.arange(len(ids))[:, None] * frequencies)[None]
        hidden = np.where(np.tri(len(ids)) == 0, -1e30, 0)[None]
        x = weights["model.embed_tokens.weight"][np.array(ids)]
        loops = []
        for _ in range(c["total_ut_steps"]):
            for layer in range(c["num_hidden_layers"]):
                at = f"model.layers.{layer}."

                def norm(y, name, at=at):
                    return rms_norm(y, weights[f"{at}{name}.weight"], eps)

                def times(y, name, at=at):
                    return anp.dot(y, weights[f"{at}{name}.weight"].T)

                def split(y):
                    return anp.swapaxes(anp.reshape(y, (len(ids), heads, dim)), 0, 1)

                read = norm(x, "input_layernorm")
                q, k, v = (split(times(read, f"self_attn.{name}_proj")) for name in "qkv")
                scores = anp.matmul(rotate(q, angles), anp.swapaxes(rotate(k, angles), 1, 2)) / np.sqrt(dim)
                mixed = anp.matmul(anp.exp(log_softmax(scores + hidden)), v)
                joined = anp.reshape(anp.swapaxes(mixed, 0, 1), (len(ids), heads * dim))
                x = x + norm(times(joined, "self_attn.o_proj"), "input_layernorm_2")
                read = norm(x, "post_attention_layernorm")
                gate = times(read, "mlp.gate_proj")
                inner = gate / (1 + anp.exp(-gate)) * times(read, "mlp.up_proj")
                x = x + norm(times(inner, "mlp.down_proj"), "post_attention_layernorm_2")
            x = rms_norm(x, weights["model.norm.weight"], eps)
            loops.append(log_softmax(anp.dot(x, weights["lm_head.weight"].T)))
        return anp.stack(loops)

    def drawn(self, weights: Weights, prompt: list[int], ids: list[int], depths: list[int]):
        """Log-probability of each token of an answer at the depth at which it exited."""
        logprobs = self.logprobs(weights, [*prompt, *ids[:-1]])
        places = len(prompt) - 1 + np.arange(len(ids))
        return logprobs[np.array(depths) - 1, places, np.array(ids)]

    def learn(self, answers: list[dict]) -> None:
        """One update: each answer has `prompt`, `ids`, `depths` and `advantage`. All tokens count alike."""
        count = sum(len(answer["ids"]) for answer in answers)
        total = {name: 0 * value for name, value in self.weights.items()}
        for answer in answers:

            def loss(weights: Weights, answer=answer):
                drawn = self.drawn(weights, answer["prompt"], answer["ids"], answer["depths"])
                # drawn by these very weights, so that every importance ratio is 1
                return -answer["advantage"] * anp.sum(drawn) / count

            _, gradients = value_and_grad(loss)(self.weights)
            total = {name: total[name] + gradients[name] for name in total}
        norm = np.sqrt(sum(np.sum(gradient**2) for gradient in total.values()))
        shrink = min(1.0, CLIP_NORM / norm) if norm > 0 else 1.0
        self.updates += 1
        for name, gradient in total.items():
            m, v = self.moments[name]
            m = BETA1 * m + (1 - BETA1) * shrink * gradient
            v = BETA2 * v + (1 - BETA2) * (shrink * gradient) ** 2
            self.moments[name] = m, v
            root = np.sqrt(v / (1 - BETA2**self.updates))
            step = LEARNING_RATE * m / (1 - BETA1**self.updates) / (root + EPSILON)
            self.weights[name] = (self.weights[name] - step).astype(np.float32).astype(np.float64)

    def save(self, folder: Path) -> None:
        write_policy(self.folder, self.weights, folder)
