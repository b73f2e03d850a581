"""The commands of docs/scale.md run, and print the lines that the page explains."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import rank_processes
from configurations import write_config
from conftest import ROOT, SAMPLES
from gate_folders import Captured

from landscape.fields import flag
from landscape_cli.main import status

PAGE = (ROOT / "docs" / "scale.md").read_text()
COMMANDS = re.search(r"```bash\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()  # type: ignore[index]
SHOWN = re.search(r"```text\n(.*?)```", PAGE, re.DOTALL)[1]  # type: ignore[index]
LLAMA_1B = {
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 32000,
    "max_position_embeddings": 2048,
}


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_page_runs(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.chdir(tmp_path)
    write_config(Path("llama-1b"), **LLAMA_1B)
    assert status(shlex.split(command)[1:]) == 0
    printed = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    if command == COMMANDS[0]:
        lines = [line.split() for line in SHOWN.splitlines()]
        assert [line[0] for line in printed if line[0] != "eig"] == [line[0] for line in lines]
        assert lines[1] in printed  # parameters
        assert next(line for line in lines if line[0] == "product") in printed


@pytest.mark.slow
def test_the_command_on_several_processes_runs(tmp_path: Path) -> None:
    (command,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)[1].splitlines()
    shutil.copy(SAMPLES / "digits-mlp.pt", tmp_path)
    ended = rank_processes.wait([rank_processes.alone(["-m", *shlex.split(command)], tmp_path)])
    assert ended.codes == (0,), ended.err
    assert ended.err.count("wrote digits-mlp.landscape.h5") == 1


@pytest.mark.slow
@pytest.mark.parametrize("command", re.findall(r"^torchrun .*", PAGE, re.MULTILINE))
def test_the_commands_of_a_launcher_run(command: str, tmp_path: Path) -> None:
    shutil.copy(SAMPLES / "digits-mlp.pt", tmp_path)
    here = command.replace("DIR --data batch.safetensors", "digits-mlp.pt").replace("-k 5", "-k 1 --limit 100")
    words = here.replace("torchrun --nproc-per-node 8", "-m torch.distributed.run --standalone --nproc-per-node 2")
    ended = rank_processes.wait([rank_processes.alone(shlex.split(words), tmp_path)])
    assert ended.codes == (0,), ended.err
    assert ended.out.count("error bounds") + ended.out.count("the same bits on all ranks") == 1, ended.out


def test_every_line_that_is_shown_is_explained() -> None:
    names = {line.strip().partition("  ")[0] for line in SHOWN.splitlines()}
    plain = {"parameters", "host", "micro-batch", "products", "rate"}
    assert [name for name in names - plain if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize("name", ["recompute", "weights_dtype", "hvp", "max_basis", "micro_batch"])
def test_the_options_of_the_page_exist(name: str, capsys: Captured) -> None:
    assert status(["eig", "--help"]) == 0
    assert flag(name) in capsys.readouterr().out
    assert flag(name) in PAGE
