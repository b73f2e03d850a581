"""Results files that are measured once, and a browser if there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NO_BROWSER, tanh_net

import landscape

DRIVERS, BROWSERS = ("chromedriver",), ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--enable-unsafe-swiftshader")
PATIENCE = 60.0  # seconds: other tests run beside the browser


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of two checkpoints, of which the second is the first one scaled and has but two."""
    folder = tmp_path_factory.mktemp("measured")
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(24, 5, generator=generator), torch.randint(0, 3, (24,), generator=generator)
    analyses: list[Any] = [
        landscape.Eig(k=3, per_layer=True),
        landscape.Trace(rtol=0.2),
        landscape.Density(probes=4, steps=8),
        landscape.Sharpness(starts=2, steps=3, draws=4),
        landscape.Surface(grid="9"),
    ]
    for name, scale in (("run-2", 1.0), ("run-10", 0.9)):
        model = tanh_net()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(scale)
        objective = landscape.Objective(model, [data], "cross_entropy")
        for analysis in analyses if scale == 1 else (analyses[0], analyses[-1]):
            landscape.run(analysis, objective, output=folder / f"{name}.landscape.h5")
    return folder


@pytest.fixture(scope="session")
def first(measured: Path) -> Any:
    """The results of the first checkpoint."""
    return landscape.read(measured / "run-2.landscape.h5")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser without a window; the tests are skipped where there is none."""
    driver, program = (next(filter(None, map(shutil.which, names)), None) for names in (DRIVERS, BROWSERS))
    if driver is None or program is None:
        pytest.skip(NO_BROWSER)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.set_page_load_timeout(PATIENCE)
    yield opened
    opened.quit()
