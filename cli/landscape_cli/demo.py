"""`landscape demo`: two nets, five commands and their pictures, as a first look at what the others do."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from landscape.errors import UsageError
from landscape_cli.streams import say

SETTINGS = "# none: the checkpoints describe themselves\n"  # so that those of the folder around it are not taken
STEPS = (  # a sentence, and the words of the command that answers
    ("What is in a checkpoint? One that describes itself needs no flags from here on.", "inspect sgd.pt"),
    ("How sharp is the loss in its sharpest directions? Both nets saw the same data.", "eig sgd.pt sam.pt -k 3"),
    (
        "How far does the loss rise around the weights, at worst and on average?",
        "sharpness sgd.pt sam.pt --adaptive none --rho .3",
    ),
    ("What does the loss look like on a random plane?", "surface sgd.pt sam.pt --grid 21"),
    (
        "Which net is flatter? The losses are about the same, and SAM's curvature is a third less.",
        "compare sgd.landscape.h5 sam.landscape.h5 -o both.png",
    ),
)


def demo_command(status: Callable[[list[str]], int]) -> Callable[..., int]:
    """The function of the command; `status` runs another command and returns its exit code."""

    def demo(
        folder: Annotated[Path, typer.Argument(help="A new or empty folder.")] = Path("landscape-demo"),
    ) -> int:
        """`landscape demo`: trains two small nets into a folder, and shows five commands on them."""
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(f"{folder} is not an empty folder", fix="landscape demo NEW-FOLDER")
        folder.mkdir(parents=True, exist_ok=True)
        say("training two small nets on handwritten digits, one by gradient descent and one with SAM")
        _write_nets(folder)
        settings = folder / "landscape.toml"
        settings.write_text(SETTINGS, encoding="utf-8")
        for sentence, words in STEPS:
            typer.echo(f"\n# {sentence}\n$ landscape {words}")
            code = status(["--config", str(settings), *(_place(folder, word) for word in shlex.split(words))])
            if code:
                return code
        typer.echo(f"\nThe pictures are in {folder}: sgd.eig.png, sgd.sharpness.png, sgd.surface.png, ..., both.png")
        typer.echo(f"Go on with: landscape report {folder} -o report.html, or landscape inspect YOUR-CHECKPOINT")
        return 0

    return demo


def _write_nets(folder: Path) -> None:
    """Trains both nets and writes them as checkpoints that describe themselves."""
    from landscape.checkpoints.saving import save
    from landscape.zoo.demo import SIZES, train_pair

    spec = {"model": "mlp", "model_args": {"sizes": list(SIZES)}}
    for name, net in train_pair().items():
        save(folder / f"{name}.pt", net, data="digits", loss="cross_entropy", spec=spec)


def _place(folder: Path, word: str) -> str:
    """A word of a command, with files in the folder."""
    return str(folder / word) if word.endswith((".pt", ".h5", ".png")) else word
