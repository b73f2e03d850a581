"""The sample nets written in JAX, with the same weights: jitted and vmapped, the fastest product that a user could
write instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax.flatten_util import ravel_pytree
from torch import Tensor, nn

from landscape.zoo.resnet import ResNet
from landscape.zoo.transformer import CharTransformer

Tree = dict[str, Any]
EPS = 1e-5  # of torch's BatchNorm and LayerNorm


def product(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """The Hessian of the mean cross-entropy times a block `(P, K)`, in the order of the parameters."""
    state = {name: jnp.asarray(tensor.detach().numpy()) for name, tensor in model.state_dict().items()}
    names = [name for name, _ in model.named_parameters()]
    fixed = {name: value for name, value in state.items() if name not in names}
    trainable = {f"{place:04d} {name}": state[name] for place, name in enumerate(names)}  # trees are sorted by name
    flat, restore = ravel_pytree(trainable)
    forward = FORWARD[type(model)]
    x, y = jnp.asarray(inputs.numpy()), jnp.asarray(targets.numpy())
    activation = next((ACTIVATIONS[type(part)] for part in model if type(part) in ACTIVATIONS), None) if isinstance(
        model, nn.Sequential
    ) else None  # fmt: skip

    def loss(theta: Any) -> Any:
        tree = {name.partition(" ")[2]: value for name, value in restore(theta).items()} | fixed
        logits = forward(model, tree, x, activation)
        logits = logits.reshape(-1, logits.shape[-1])
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), y.reshape(-1, 1), axis=1)
        return -chosen.mean()

    def pushed(theta: Any, rows: Any) -> Any:
        return jax.vmap(lambda row: jax.jvp(jax.grad(loss), (theta,), (row,))[1])(rows)

    compiled = jax.jit(pushed)

    def times(block: np.ndarray) -> np.ndarray:
        return np.asarray(compiled(flat, jnp.asarray(block.T)).block_until_ready()).T

    return times


def perceptron(model: nn.Sequential, tree: Tree, x: Any, activation: Any) -> Any:
    layers = [name for name, part in model.named_children() if isinstance(part, nn.Linear)]
    for name in layers:
        x = x @ tree[f"{name}.weight"].T + tree[f"{name}.bias"]
        x = activation(x) if name != layers[-1] else x
    return x


def residual(model: ResNet, tree: Tree, x: Any, activation: Any) -> Any:
    def conv(name: str, x: Any, stride: int) -> Any:
        return jax.lax.conv_general_dilated(x, tree[f"{name}.weight"], (stride, stride), ((1, 1), (1, 1)))

    def norm(name: str, x: Any) -> Any:
        mean, variance, weight, bias = (
            tree[f"{name}.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / jnp.sqrt(variance + EPS) * weight + bias

    out = jax.nn.relu(norm("bn", conv("stem", x, 1)))
    for place, block in enumerate(model.blocks):
        name, kept = f"blocks.{place}", out
        out = jax.nn.relu(norm(f"{name}.bn1", conv(f"{name}.conv1", out, block.stride)))
        out = norm(f"{name}.bn2", conv(f"{name}.conv2", out, 1))
        if block.skip:
            short = kept[:, :, :: block.stride, :: block.stride]
            out = out + jnp.pad(short, ((0, 0), (0, block.padding), (0, 0), (0, 0)))
        out = jax.nn.relu(out)
    return out.mean(axis=(2, 3)) @ tree["head.weight"].T + tree["head.bias"]


def transformer(model: CharTransformer, tree: Tree, ids: Any, activation: Any) -> Any:
    def norm(name: str, x: Any) -> Any:
        centered = x - x.mean(axis=-1, keepdims=True)
        scaled = centered / jnp.sqrt((centered**2).mean(axis=-1, keepdims=True) + EPS)
        return scaled * tree[f"{name}.weight"] + tree[f"{name}.bias"]

    def linear(name: str, x: Any) -> Any:
        return x @ tree[f"{name}.weight"].T + tree[f"{name}.bias"]

    count, length = ids.shape
    x = tree["tokens.weight"][ids] + tree["positions.weight"][:length]
    causal = jnp.tril(jnp.ones((length, length), dtype=bool))
    for place, layer in enumerate(model.layers):
        name, heads = f"layers.{place}", layer.heads
        query, key, value = (
            part.reshape(count, length, heads, -1).transpose(0, 2, 1, 3)
            for part in jnp.split(linear(f"{name}.qkv", norm(f"{name}.norm1", x)), 3, axis=-1)
        )
        scores = query @ key.transpose(0, 1, 3, 2) / jnp.sqrt(query.shape[-1])
        mixed = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf)) @ value
        x = x + linear(f"{name}.proj", mixed.transpose(0, 2, 1, 3).reshape(x.shape))
        wide = jax.nn.gelu(linear(f"{name}.up", norm(f"{name}.norm2", x)), approximate=False)
        x = x + linear(f"{name}.down", wide)
    return norm("norm", x) @ tree["head.weight"].T


FORWARD: dict[type, Callable[..., Any]] = {
    nn.Sequential: perceptron,
    ResNet: residual,
    CharTransformer: transformer,
}
ACTIVATIONS: dict[type, Callable[[Any], Any]] = {nn.Tanh: jnp.tanh, nn.ReLU: jax.nn.relu}


def devices() -> str:
    return str(jax.devices()[0].platform)


def agree(ours: Tensor, theirs: np.ndarray) -> float:
    """How far two products differ, relative to their size."""
    return float(torch.linalg.vector_norm(ours - torch.from_numpy(theirs)) / torch.linalg.vector_norm(ours))
