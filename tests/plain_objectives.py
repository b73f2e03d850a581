"""The objectives of the examples in docs/bring-your-own.md, written out again for all data at once, without landscape.

Each takes the example's namespace, its model in float64, and its data in float64, and returns the terms' means by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Terms = Mapping[str, Tensor]
MAIN = ""  # the name of an objective's one term that has none


def double(tree: Any) -> Any:
    """The tree with its floating tensors in float64."""
    if isinstance(tree, Tensor):
        return tree.double() if tree.is_floating_point() else tree
    if isinstance(tree, dict):
        return {key: double(part) for key, part in tree.items()}
    return type(tree)(double(part) for part in tree) if isinstance(tree, tuple | list) else tree


def pinn(model: nn.Module, data: Any) -> Terms:
    (batch,) = data
    x = batch["inside"]
    first, hidden, last = (part for part in model if isinstance(part, nn.Linear))  # type: ignore[attr-defined]
    a = torch.tanh(x @ first.weight.T + first.bias)
    slope = (1 - a**2) * first.weight[:, 0]  # of a in x; and so on, by the chain rule
    bend = -2 * a * slope * first.weight[:, 0]
    b = torch.tanh(a @ hidden.weight.T + hidden.bias)
    inner, inner_bend = slope @ hidden.weight.T, bend @ hidden.weight.T
    second = (1 - b**2) * inner_bend - 2 * b * (1 - b**2) * inner**2
    residual = second @ last.weight.T + math.pi**2 * torch.sin(math.pi * x)
    wrong = model(batch["sensors"]) - batch["seen"]
    return {
        "residual": (residual**2).mean(),
        "boundary": 10 * (model(batch["edges"]) ** 2).mean(),
        "data": (wrong**2).mean(),
    }


def contrastive(model: nn.Module, data: Any) -> Terms:
    total = torch.zeros(())
    for one, other in data:
        first, second = model(one), model(other)
        lengths = first.norm(dim=1)[:, None] * second.norm(dim=1)
        similar = first @ second.T / lengths / 0.2
        total = total + (similar.exp().sum(1).log() - similar.diagonal()).sum()
    return {MAIN: total / sum(len(one) for one, _ in data)}


def graph(model: Any, data: Any) -> Terms:
    total = torch.zeros(())
    for (nodes, edges), labels in data:
        adjacency = torch.zeros(len(nodes), len(nodes), dtype=nodes.dtype)
        for source, to in edges.T.tolist():
            adjacency[to, source] += 1
        hidden = torch.tanh(model.first(nodes + adjacency @ nodes / 3))
        logits = model.second(hidden + adjacency @ hidden / 3)
        total = total + (logits.exp().sum(1).log() - logits[range(len(labels)), labels]).sum()
    return {MAIN: total / sum(len(labels) for _, labels in data)}


def detection(model: Any, data: Any) -> Terms:
    by_image, by_box = [], []
    for pictures, targets in data:
        features = model.features(pictures)
        logits, boxes = model.classes(features), model.boxes(features)
        for image, target in enumerate(targets):
            wanted = torch.zeros(4, 4, dtype=torch.long)
            for box, label in zip(target["boxes"], target["labels"], strict=True):
                row, column = (int((box[axis] + box[axis + 2]) / 2 // 4) for axis in (0, 1))
                wanted[row, column] = label
                gap = (boxes[image, :, row, column] - box / 16).abs()
                by_box.append(torch.where(gap < 1, gap**2 / 2, gap - 0.5).mean())
            chosen = logits[image].log_softmax(0).gather(0, wanted[None])
            by_image.append(-chosen.mean())
    return {"classification": torch.stack(by_image).mean(), "box": torch.stack(by_box).mean()}


def vae(model: Any, data: Any) -> Terms:
    x, noise = (torch.cat(parts) for parts in zip(*data, strict=True))
    codes = model.encoder(x)
    mean, log_variance = codes[:, :2], codes[:, 2:]
    seen = model.decoder(mean + noise * torch.sqrt(log_variance.exp()))
    divergence = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
    return {"reconstruction": (10 * (x - seen) ** 2).sum(1).mean(), "kl": divergence.mean()}


def ppo(model: Any, data: Any) -> Terms:
    batch = {name: torch.cat([part[name] for part in data]) for name in data[0]}
    logs = model.actor(batch["states"]).log_softmax(1)
    chosen = logs.gather(1, batch["actions"][:, None])[:, 0]
    ratio, advantages, weights = (chosen - batch["old_log_probs"]).exp(), batch["advantages"], batch["weights"]
    clipped = torch.where(ratio > 1.2, 1.2, torch.where(ratio < 0.8, 0.8, ratio))
    gain = torch.where(ratio * advantages < clipped * advantages, ratio * advantages, clipped * advantages)
    value = model.critic(batch["states"])[:, 0]
    return {
        "policy": -(weights * gain).sum() / weights.sum(),
        "value": 0.5 * ((value - batch["returns"]) ** 2).mean(),
        "entropy": 0.01 * (logs.exp() * logs).sum(1).mean(),
    }


def segmentation(model: nn.Module, data: Any) -> Terms:
    x, labels = (torch.cat(parts) for parts in zip(*data, strict=True))
    labeled = labels != 255
    logs = model(x).log_softmax(1).permute(0, 2, 3, 1)[labeled]
    weights = torch.tensor([0.2, 1.0, 3.0]).double()[labels[labeled]]
    return {MAIN: -(weights * logs[range(len(weights)), labels[labeled]]).sum() / weights.sum()}


def classification(model: nn.Module, data: Any) -> Terms:
    x, labels = (torch.cat(parts) for parts in zip(*data, strict=True))
    return {MAIN: functional.cross_entropy(model(x), labels)}


def language_model(text: str, directory: str) -> tuple[dict[str, Tensor], list[Tensor]]:
    """The mean loss of the next word over sequences of 16 words, and the model's parameters."""
    from transformers import AutoModelForCausalLM  # an optional extra

    model = AutoModelForCausalLM.from_pretrained(directory, attn_implementation="eager", dtype=torch.float64).eval()
    numbers = {word: number for number, word in enumerate(sorted(set(text.split())), start=1)}
    tokens = torch.tensor([numbers[word] for word in text.split()])
    sequences = tokens[: len(tokens) // 16 * 16].view(-1, 16)
    logs = model(sequences).logits[:, :-1].log_softmax(-1)
    chosen = logs.gather(2, sequences[:, 1:, None])
    return {MAIN: -chosen.mean()}, list(model.parameters())


def spectrum(mean: Tensor, parameters: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The gradient `(P,)` and the Hessian `(P, P)` of a mean in float64."""
    slopes = torch.autograd.grad(mean, parameters, create_graph=True, materialize_grads=True)
    gradient = torch.cat([slope.reshape(-1) for slope in slopes])
    rows = [torch.autograd.grad(part, parameters, retain_graph=True, materialize_grads=True) for part in gradient]
    return gradient.detach(), torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
