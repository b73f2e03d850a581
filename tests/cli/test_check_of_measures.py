"""`landscape check` on critical sharpness, sensitivity, influence and populations."""

from __future__ import annotations

from pathlib import Path

import pytest
from gate_folders import Captured, save_checkpoint

from landscape_cli.main import status

pytestmark = pytest.mark.usefixtures("clean_folder")

POLICY = """
[check.metrics]
"{metric}" = "2%"

[check.{analysis}]
{options}
"""
MEASURES = [  # the metric, and options of its analysis
    ("critical.critical_sharpness", ""),
    ("sensitivity.kind_real[3 bits]", "bits = [3]"),
    ("influence.gradient_norm2[0]", 'query = "samples:0-9"\ndamping = "1.0"'),
    ("influence.scores[0, 0]", 'query = "samples:0"\ndamping = "1.0"'),
    ("eig.population_eigenvalue[class-3]", 'by = "class"'),
]


@pytest.mark.parametrize(("metric", "options"), MEASURES, ids=[metric for metric, _ in MEASURES])
def test_a_measure_is_gated_like_an_eigenvalue(metric: str, options: str, capsys: Captured) -> None:
    policy = POLICY.format(metric=metric, analysis=metric.partition(".")[0], options=options)
    Path("landscape.toml").write_text(policy)
    save_checkpoint("mlp.pt")
    assert status(["check", "mlp.pt", "--update"]) == 0, capsys.readouterr()
    assert status(["check", "mlp.pt"]) == 0
    save_checkpoint("mlp.pt", 1.1)
    capsys.readouterr()
    assert status(["check", "mlp.pt"]) == 1, capsys.readouterr()
    assert f"regression: {metric} of mlp.pt" in capsys.readouterr().out
