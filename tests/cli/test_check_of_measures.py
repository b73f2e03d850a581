"""`landscape check` on numbers of critical, llc, sensitivity and influence: pass, regression, inconclusive."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from gate_folders import Captured
from torch.nn import functional

import landscape
from landscape.analyses.llc import history
from landscape.zoo import digits, mlp
from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")
SIZES = [64, 4, 10]


@dataclass(frozen=True)
class Gated:
    """A metric, the options of its measurement, and those with which work ends too early, with what is then said."""

    metric: str
    options: str = ""
    too_few: str = ""
    words: str = ""


GATED = {
    "critical": Gated("critical.critical_sharpness"),
    "sensitivity": Gated("sensitivity.kind_real[3 bits]", "bits = [3]"),
    "llc": Gated("llc.llc", "gamma = 300\nnbeta = 5\nrtol = 0.2\ndraws = 400", "draws = 32", "standard error"),
    "influence": Gated(
        "influence.self_influence[3]",
        'inverse = "cg"\ntrain = "samples:0-7"\ndamping = "0.01"',
        "max_iterations = 1",
        "after 1 iterations",
    ),
}


def save_fitted(path: str, scale: float = 1.0) -> None:
    """A small net fitted to 60 digits, whose weights are then scaled."""
    torch.manual_seed(0)
    (x, y), model = digits("test")[0], mlp(SIZES)
    x, y = x[:60], y[:60]
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(80):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale
    landscape.save(path, model, data=(x, y), spec={"model": "mlp", "model_args": {"sizes": SIZES}})


def write_settings(gated: Gated, options: str) -> None:
    rule = f'"{gated.metric}" = {{ max_change = "2%" }}'  # in both directions
    name = gated.metric.partition(".")[0]
    Path("landscape.toml").write_text(f"[check.metrics]\n{rule}\n\n[check.{name}]\n{options}\n")


@pytest.mark.parametrize("name", GATED)
def test_a_number_passes_regresses_and_is_inconclusive(
    name: str, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "ADAPTATION_STEPS", 40)
    gated, check = GATED[name], ["check", "net.pt"]
    write_settings(gated, gated.options)
    save_fitted("net.pt")
    assert status([*check, "--update"]) == 0
    assert status(check) == 0
    save_fitted("net.pt", 0.6)
    capsys.readouterr()
    assert status(check) == 1
    assert f"regression: {gated.metric} of net.pt: it is worse by +" in capsys.readouterr().out
    save_fitted("net.pt", float("nan"))
    assert status(check) == 3
    assert "NaN or infinity in weights" in capsys.readouterr().out
    if gated.too_few:
        save_fitted("net.pt", 0.61)
        write_settings(gated, gated.options.replace("draws = 400", "") + f"\n{gated.too_few}")
        assert status(check) == 3
        assert gated.words in capsys.readouterr().out
