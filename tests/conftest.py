"""One thread (tiny tensors run faster so), problems with known answers, and three ways to batch them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from landscape.errors import speak_flags

sys.path.insert(0, str(Path(__file__).parent))  # oracles, operator_contract, analysis_contract

NO_BROWSER = "no browser: chromium and chromedriver are not installed"
ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_checkpoints"

settings.register_profile("any-machine", deadline=None)  # a deadline would measure how busy the machine is
settings.load_profile("any-machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="", help="run the tests marked `device` there: strict, or cuda")


def pytest_configure(config: pytest.Config) -> None:
    """With --device, `auto` means that device: an objective that names none is measured there."""
    name = config.getoption("--device")
    if name == "strict":
        import strict_device  # noqa: F401  # registers the device
    if name:
        from landscape.compute import devices

        as_device = devices.as_device
        devices.as_device = lambda asked: as_device(name if asked == "auto" else asked)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    name = config.getoption("--device")
    if name:
        chosen = [item for item in items if item.get_closest_marker("device") and _is_ragged(item)]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen
    items.sort(key=lambda item: item.path.name != "test_readme.py")  # the longest test first, or a core waits for it
    for item in items:
        if item.get_closest_marker("other_device") and not name:
            item.add_marker(pytest.mark.skip(reason="runs with --device"))
        if item.get_closest_marker("gpu") and not (name == "cuda" and torch.cuda.is_available()):
            item.add_marker(pytest.mark.skip(reason="needs CUDA, and --device cuda"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Says which tests were left out because there is no browser: they are no rare ones."""
    skipped = [one for one in terminalreporter.stats.get("skipped", ()) if "no browser" in str(one.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests of reports were skipped: {NO_BROWSER}")


def _is_ragged(item: pytest.Item) -> bool:
    """Whether the test takes ragged batches, or does not split its data: one way to split is enough on a device."""
    callspec = getattr(item, "callspec", None)
    return callspec is None or callspec.params.get("split", "ragged-batches") == "ragged-batches"


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> str:
    """The name of the device that tests marked `device` run on."""
    return str(request.config.getoption("--device") or "cpu")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def _flags() -> Iterator[None]:
    """Errors name options as flags, which no other word is taken for; tests/test_errors.py has them as arguments."""
    with speak_flags():
        yield


Splitter = Callable[[Tensor, Tensor], list[tuple[Tensor, Tensor]]]
SPLITS: dict[str, list[int] | None] = {
    "one-batch": None,
    "equal-batches": [8, 8, 8],
    "ragged-batches": [10, 10, 4],
    "joined-batches": [10, 10, 4],
}


@pytest.fixture(params=SPLITS, ids=list(SPLITS))
def split(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Splitter:
    """Cuts 24 samples into one batch, equal batches or ragged batches, each by itself unless they are joined."""
    sizes = SPLITS[request.param]
    if request.param != "joined-batches":
        monkeypatch.setattr("landscape.objective.preparation.concatenate", lambda batches, room: batches)
    return lambda x, y: [(x, y)] if sizes is None else list(zip(x.split(sizes), y.split(sizes), strict=True))


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def classification(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """24 samples of 5 features in 3 classes."""
    return torch.randn(24, 5, generator=generator), torch.randint(0, 3, (24,), generator=generator)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Without the progress bars and remarks of the transformers library."""
    import transformers

    words = transformers.utils.logging
    level = words.get_verbosity()
    words.set_verbosity_error()
    words.disable_progress_bar()
    try:
        yield
    finally:
        words.set_verbosity(level)


def tanh_net() -> nn.Sequential:
    """A net of 5 -> 4 -> 3 with an indefinite Hessian, the same each time."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))


class Once(torch.autograd.Function):
    """tanh whose backward pass has no derivative that torch knows of: second derivatives lack a term."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        y = x.tanh()
        context.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, grad: Tensor) -> Tensor:
        (y,) = context.saved_tensors
        return grad * (1 - y * y)


class OnceNet(nn.Module):
    """A net of 5 -> 4 -> 3 whose Hessian is not what torch computes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.b(Once.apply(self.a(x)))  # type: ignore[no-untyped-call]
        return out
