"""Draws the pictures of the pages: python docs/figures.py [NAME ...] [--trained FOLDER] [--keep FOLDER] [--to FOLDER].

Without names it draws all that need no training, in about ten minutes on two cores; `--trained` also draws those of
docs/surfaces.py and docs/edge_of_stability.py, whose nets it trains into FOLDER unless they are there (about half an
hour). The commands are those of the pages; each picture is made in a folder of its own.
"""

from __future__ import annotations

import argparse
import runpy
import shlex
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path

from landscape_cli.main import status

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
SAMPLES = ROOT / "sample_checkpoints"
BATCHES = " ".join(f"NETS/batch-{size}-decay-{decay}-seed-0.pt" for size in (16, 650) for decay in ("0", "0.01"))
HALF_SQUARED = f"{ROOT / 'docs' / 'edge_of_stability.py'}:half_squared_norm"
PICTURES = {  # the commands of each; the last one draws, and gets the name of the file
    "critical": ("critical digits-resnet.pt --lr 0.5 -o a.h5", "plot a.h5"),
    "density": (
        "eig digits-mlp.pt -k 20 -o a.h5",
        "density digits-mlp.pt --per-layer -o a.h5",
        "plot a.h5 --analysis density",
    ),
    "diagonal": ("diagonal digits-mlp.pt --top 10% -o a.h5", "plot a.h5"),
    "edit": ("edit digits-noisy.pt --max-loss-increase 0.1 -o a.h5", "plot a.h5"),
    "eig": ("eig digits-mlp.pt -k 20 --cross-check -o a.h5", "plot a.h5"),
    "flatness": ("flatness digits-mlp.pt --rho 0.01,0.03,0.1,0.3 -o a.h5", "plot a.h5"),
    "influence": ("influence digits-noisy.pt --query held-out --no-each --inverse ekfac -o a.h5", "plot a.h5"),
    "llc": ("llc digits-mlp.pt --gamma 100 -o a.h5", "plot a.h5"),
    "memorization": ("memorization charlm.pt --per-layer -o a.h5", "plot a.h5"),
    "sensitivity": ("sensitivity digits-resnet.pt --limit 200 -o a.h5", "plot a.h5"),
    "sharpness": ("sharpness digits-mlp.pt --rho 0.05,0.1,0.2,0.5,1 --per-layer -o a.h5", "plot a.h5"),
    "surface": ("surface digits-resnet.pt -o a.h5", "plot a.h5"),
    "surface-solid": ("surface digits-resnet.pt -o a.h5", "plot a.h5 --solid"),
    "surface-barcode": ("surface digits-resnet-noskip.pt --limit 64 -o a.h5", "plot a.h5 --barcode"),
    "surface-trajectory": (
        "surface digits-mlp-trajectory/step-0840.pt --trajectory digits-mlp-trajectory -o a.h5",
        "plot a.h5",
    ),
    "trace": ("trace digits-mlp.pt --per-layer -o a.h5", "plot a.h5"),
    "track": ("track digits-mlp-trajectory --eig 3 --trace --lr 0.5 -o a.h5", "plot a.h5"),
}
TRAINED = {  # NETS stands for the folder of the trained nets
    "surface-align": (
        "surface NETS/wide-seed-0.pt NETS/wide-seed-1.pt --axes checkpoints --align -o a.h5",
        "plot a.h5",
    ),
    "surface-none": (
        f"surface {BATCHES} --dim 1 --seeds 10 --normalize none --range 0.05 -o lines/",
        "plot lines/*.h5",
    ),
    "surface-filter": (f"surface {BATCHES} --dim 1 --seeds 10 -o lines/", "plot lines/*.h5"),
    "surface-shortcuts": (
        "surface NETS/skip-seed-0.pt NETS/plain-seed-0.pt --seeds 3 --adaptive -o planes/",
        "plot planes/skip-seed-0.landscape.h5 planes/plain-seed-0.landscape.h5",
    ),
    "edge-of-stability": (
        *(f"track NETS/lr-{rate} --lr {rate} --loss {HALF_SQUARED}" for rate in (0.4, 0.6, 0.8)),
        "plot NETS/lr-*/track.landscape.h5",
    ),
}


def train(folder: Path) -> None:
    """Trains the nets of both scripts into a folder, unless they are there."""
    for script, last in (("surfaces.py", "plain-seed-2.pt"), ("edge_of_stability.py", "lr-0.8/step-3900.pt")):
        if not (folder / last).exists():
            arguments, sys.argv = sys.argv, [script, str(folder)]
            runpy.run_path(str(ROOT / "docs" / script), run_name="__main__")
            sys.argv = arguments


def draw(name: str, folder: Path, to: Path, nets: Path | None = None) -> None:
    """Runs the commands of one picture in a folder with copies of the samples; the last command writes it.

    In a folder that is there already the results are drawn again.
    """
    *measuring, drawing = (TRAINED if nets is not None else PICTURES)[name]
    is_new = not folder.exists()
    if is_new:
        folder.mkdir(parents=True)
        for sample in SAMPLES.iterdir():
            if sample.suffix == ".pt" or sample.is_dir():
                (shutil.copytree if sample.is_dir() else shutil.copy)(sample, folder / sample.name)
        if nets is not None:
            (folder / "NETS").symlink_to(nets.resolve())
    with chdir(folder):
        commands = [f"{command} --no-plot" for command in measuring] if is_new else []
        for command in [*commands, f"{drawing} -o {shlex.quote(str(to / f'{name}.png'))}"]:
            words = [found for word in shlex.split(command) for found in _files(word)]
            if (code := status(words)) not in (0, 3):  # 3: a finding of the sample, such as NaN far away
                sys.exit(f"{name}: landscape {command} ended with {code}")


def _files(word: str) -> list[str]:
    """The files of a pattern, as a shell finds them."""
    return sorted(map(str, Path().glob(word))) if "*" in word else [word]


def main() -> None:
    """Draws the pictures that the arguments name, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*PICTURES, *TRAINED]))
    parser.add_argument("--trained", type=Path, metavar="FOLDER", help="also draw those of nets that are trained here")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder of the results, by default a temporary one")
    parser.add_argument("--to", type=Path, default=IMAGES, help="folder of the pictures")
    chosen = parser.parse_args()
    known = {**PICTURES, **(TRAINED if chosen.trained else {})}
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f"{unknown[0]} is none of {', '.join(known)}; some need --trained FOLDER")
    chosen.to.mkdir(parents=True, exist_ok=True)
    if chosen.trained:
        train(chosen.trained)
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen.names or known:
            nets = chosen.trained if name in TRAINED else None
            draw(name, (chosen.keep or Path(temporary)).resolve() / name, chosen.to.resolve(), nets)


if __name__ == "__main__":
    main()
