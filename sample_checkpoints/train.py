"""Trains the sample checkpoints, deterministically: `make samples`, or `python sample_checkpoints/train.py NAME...`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from landscape import zoo
from landscape.checkpoints import save
from landscape.zoo.digits import corrupt_labels, digits

HERE = Path(__file__).parent
SEED = 0


def concatenate(batches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """All inputs and all targets of some batches."""
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def shuffled_batches(
    inputs: Tensor, targets: Tensor, size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of batches in random order."""
    order = torch.randperm(len(inputs), generator=generator)
    for chosen in order.split(size):
        yield inputs[chosen], targets[chosen]


def loss_of(model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of a model whose output is `(..., classes)`."""
    output = model(inputs)
    return functional.cross_entropy(output.reshape(-1, output.shape[-1]), targets.reshape(-1))


def sam_step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], rho: float) -> None:
    """One step at the gradient of w + rho g / ||g|| (Foret et al. 2021, equation 2)."""
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(loss_of(model, *batch), parameters)
    norm = torch.sqrt(sum((g * g).sum() for g in gradients))  # type: ignore[arg-type]
    moves = [rho * g / norm for g in gradients]
    with torch.no_grad():
        for parameter, move in zip(parameters, moves, strict=True):
            parameter += move
    optimizer.zero_grad()
    loss_of(model, *batch).backward()
    with torch.no_grad():
        for parameter, move in zip(parameters, moves, strict=True):
            parameter -= move
    optimizer.step()


def fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    weight_decay: float = 0.0,
    momentum: float | None = None,
    sam_rho: float = 0.0,
    each_epoch: Callable[[int], None] = lambda epoch: None,
    seed: int = SEED,
) -> None:
    """Trains with AdamW, or with SGD if `momentum` is given, on a cosine schedule.

    `each_epoch` is called with the number of each epoch before it starts, and once after the last.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer: torch.optim.Optimizer
    if momentum is None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    model.train()
    for epoch in range(epochs):
        each_epoch(epoch)
        for batch in shuffled_batches(inputs, targets, batch_size, generator):
            if sam_rho:
                sam_step(model, optimizer, batch, sam_rho)
            else:
                optimizer.zero_grad()
                loss_of(model, *batch).backward()
                optimizer.step()
        schedule.step()
    each_epoch(epochs)
    model.eval()


def report(name: str, model: nn.Module, **sets: list[tuple[Tensor, Tensor]]) -> None:
    """Prints the loss and the accuracy on each named set of batches."""
    parts = []
    with torch.inference_mode():
        for label, batches in sets.items():
            inputs, targets = concatenate(batches)
            accuracy = (model(inputs).argmax(-1) == targets).float().mean()
            parts.append(f"{label}: loss {loss_of(model, inputs, targets):.4f} accuracy {accuracy:.3f}")
    print(f"{name}: {'; '.join(parts)}", flush=True)


def fresh(name: str, *, seed: int = SEED, **arguments: Any) -> nn.Module:
    """A model of the zoo, initialized from the seed."""
    torch.manual_seed(seed)
    return zoo.MODELS[name](**arguments)


def digits_mlp() -> None:
    """A small tanh network on the digits."""
    arguments = {"sizes": [64, 32, 20, 10], "activation": "tanh"}
    model = fresh("mlp", **arguments)
    fit(model, *concatenate(digits()), epochs=40, lr=3e-3, batch_size=64, weight_decay=0.1)
    spec = {"model": "mlp", "model_args": arguments, "data_args": {"split": "train"}}
    spec["populations"] = {"held-out": {"data": "digits", "data_args": {"split": "test"}}}
    save(HERE / "digits-mlp.pt", model, data="digits", loss="cross_entropy", spec=spec)
    report("digits-mlp", model, train=digits(), test=digits("test"))


def digits_resnet(name: str, *, skip: bool = True, sam_rho: float = 0.0) -> None:
    """A residual network on the digits, with or without shortcuts, trained by SGD or SAM."""
    arguments = {"blocks": 3, "width": 8, "skip": skip}
    model = fresh("resnet", **arguments)
    inputs, targets = concatenate(digits(images=True))
    fit(model, inputs, targets, epochs=15, lr=0.05, batch_size=128, weight_decay=5e-4, momentum=0.9, sam_rho=sam_rho)
    spec = {
        "model": "resnet",
        "model_args": arguments,
        "data_args": {"split": "train", "images": True},
        "populations": {"held-out": {"data": "digits", "data_args": {"split": "test", "images": True}}},
        "about": {"sam_rho": sam_rho},
    }
    save(HERE / f"{name}.pt", model, data="digits", loss="cross_entropy", spec=spec)
    report(name, model, train=digits(images=True), test=digits("test", images=True))


NOISY = {"split": "train", "noise": 0.1, "noise_seed": SEED, "standardized": True}
NOISY_MODEL = {"sizes": [64, 256, 256, 10], "activation": "relu"}


def noisy_model(*, seed: int = SEED, each_epoch: Callable[[nn.Module], None] = lambda model: None) -> nn.Module:
    """A net that memorizes wrong labels, a tenth of all; which labels are wrong does not depend on the seed."""
    model = fresh("mlp", seed=seed, **NOISY_MODEL)
    inputs, targets = concatenate(digits(**NOISY))
    seen = lambda epoch: each_epoch(model)  # noqa: E731
    fit(model, inputs, targets, epochs=200, lr=1e-3, batch_size=128, weight_decay=0.1, each_epoch=seen, seed=seed)
    return model


def digits_noisy() -> None:
    """Saves `noisy_model` with the populations that memorization and edit measure."""
    model = noisy_model()
    _, truth = concatenate(digits())
    _, mask = corrupt_labels(truth, NOISY["noise"], NOISY["noise_seed"])
    test = {"split": "test", "standardized": True}
    arguments = {
        "memorized": {**NOISY, "part": "wrong"},
        "clean": {**NOISY, "part": "right"},
        "truth": {**NOISY, "part": "corrected"},  # the memorized samples with their true labels
        "held-out": test,
        "never-seen": {**test, "noise": 0.25, "noise_seed": SEED, "part": "wrong"},
    }
    spec = {
        "model": "mlp",
        "model_args": NOISY_MODEL,
        "data_args": NOISY,
        "populations": {name: {"data": "digits", "data_args": given} for name, given in arguments.items()},
    }
    save(HERE / "digits-noisy.pt", model, data="digits", loss="cross_entropy", spec=spec, extras={"wrong_labels": mask})
    report("digits-noisy", model, noisy_train=digits(**NOISY), test=digits(**test))


def charlm() -> None:
    """A character model that sees 32 random strings eight times in each epoch, so that it memorizes them."""
    arguments = {"vocabulary": 29, "length": 64, "width": 128, "heads": 4, "layers": 2}
    model = fresh("char-transformer", **arguments)
    text, after = concatenate(zoo.grammar("train"))
    canaries, after_canaries = concatenate(zoo.grammar("canaries"))
    inputs = torch.cat([text, canaries.repeat(8, 1)])
    targets = torch.cat([after, after_canaries.repeat(8, 1)])
    fit(model, inputs, targets, epochs=20, lr=2e-3, batch_size=64, weight_decay=0.01)
    spec = {
        "model": "char-transformer",
        "model_args": arguments,
        "data_args": {"split": "train", "count": 256},
        "populations": {
            "memorized": {"data": "grammar", "data_args": {"split": "canaries"}},
            "clean": {"data": "grammar", "data_args": {"split": "train", "count": 256}},
            "held-out": {"data": "grammar", "data_args": {"split": "held-out", "count": 256}},
            "never-seen": {"data": "grammar", "data_args": {"split": "never-seen"}},
        },
    }
    save(HERE / "charlm.pt", model, data="grammar", loss="cross_entropy", spec=spec)
    sets = {split: zoo.grammar(split, count=count) for split, count in (("train", 256), ("held-out", 256))}
    report("charlm", model, **sets, canaries=zoo.grammar("canaries"), never=zoo.grammar("never-seen"))


def digits_mlp_trajectory() -> None:
    """Ten checkpoints of one run, more of them at its beginning; each records its optimizer step."""
    arguments = {"sizes": [64, 32, 20, 10], "activation": "tanh"}
    model = fresh("mlp", **arguments)
    folder = HERE / "digits-mlp-trajectory"
    folder.mkdir(exist_ok=True)
    epochs = (0, 1, 2, 4, 6, 10, 15, 20, 30, 40)
    inputs, targets = concatenate(digits())
    steps_per_epoch = -(-len(inputs) // 64)

    def keep(epoch: int) -> None:
        if epoch in epochs:
            about = {"step": epoch * steps_per_epoch, "epoch": epoch}
            spec = {"model": "mlp", "model_args": arguments, "data_args": {"split": "train"}, "about": about}
            path = folder / f"step-{about['step']:04d}.pt"
            save(path, model, data="digits", loss="cross_entropy", spec=spec)

    fit(model, inputs, targets, epochs=40, lr=0.05, batch_size=64, momentum=0.9, each_epoch=keep)
    report("digits-mlp-trajectory", model, train=digits(), test=digits("test"))


SAMPLES: dict[str, Callable[[], None]] = {
    "digits-mlp": digits_mlp,
    "digits-resnet": lambda: digits_resnet("digits-resnet"),
    "digits-resnet-noskip": lambda: digits_resnet("digits-resnet-noskip", skip=False),
    "digits-resnet-sam": lambda: digits_resnet("digits-resnet-sam", sam_rho=0.1),
    "digits-noisy": digits_noisy,
    "charlm": charlm,
    "digits-mlp-trajectory": digits_mlp_trajectory,
}

if __name__ == "__main__":
    torch.set_num_threads(2)  # the sums' order depends on it, and with it the last bits of the weights
    torch.use_deterministic_algorithms(True)
    for sample in sys.argv[1:] or SAMPLES:
        SAMPLES[sample]()
