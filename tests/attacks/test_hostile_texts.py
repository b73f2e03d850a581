"""Hostile settings, baselines and indices: each is answered in words, none is a bug, none writes a line of its own."""

from __future__ import annotations

import copy
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import SAMPLES
from processes import run_command
from safetensors.numpy import save_file

import landscape
from landscape import Eig
from landscape_cli.main import status

SECONDS = 5.0  # on a busy machine; no input takes more than some tenths
PWNED = "::error::pwned"
TOML_VALUES = {
    "lists in lists": "[" * 3000 + "]" * 3000,
    "tables in tables": "{a=" * 3000 + "1" + "}" * 3000,
    "sixty lists": "[" * 60 + "]" * 60,
    "digits": "9" * 5000,
    "hexadecimal": "0x" + "f" * 5000,
    "65 bits": str(2**63),
    "infinity": "1e999",
    "date": "1979-05-27T07:32:00Z",
    "nul": '"a\\u0000b"',
    "line": f'"a\\n{PWNED}"',
    "terminal": '"\\u001b[31mred"',
    "direction": '"\\u202eabc"',
    "long": '"' + "a" * 5000 + '"',
    "long path": '"' + "a/" * 2000 + '.py:build"',
    "list": '[1, "a", {b = 2}]',
    "negative": "-3",
}
TOML_KEYS = {
    "line": f'"a\\n{PWNED}"',
    "nul": '"a\\u0000"',
    "long": "a" * 5000,
    "levels": ".".join("a" * 3000),
    "empty": '""',
    "dunder": "__class__",
}
SETTINGS = (
    "model = {}",
    "limit = {}",
    "checkpoint = {}",
    "[eig]\nk = {}",
    "[check]\nbaseline = {}",
    '[check.metrics]\n"eig.loss" = {}',
    "check = {}",
)
JSON_VALUES = [None, True, -1, 1e300, 2**300, "\0", "\ud800", f"a\n{PWNED}", "9" * 5000, [], {}, [1]]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    return tmp_path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    shutil.copy(SAMPLES / "digits-mlp.pt", folder / "a.pt")
    landscape.run(Eig(k=1), landscape.load(folder / "a.pt"), output=folder / "a.landscape.h5")
    return folder / "a.landscape.h5"


def answered(capsys: pytest.CaptureFixture[str], *command: str, codes: Sequence[int] = (2,)) -> str:
    """What the command prints, which is one of ours and commands nothing."""
    begin = time.process_time()
    code = status(list(command))
    captured = capsys.readouterr()
    text = captured.out + captured.err
    assert "internal error" not in text
    assert code in codes, text
    assert time.process_time() - begin < SECONDS
    assert not [line for line in text.splitlines() if line.strip().startswith(PWNED)]
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    return text


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("value", TOML_VALUES.values(), ids=TOML_VALUES)
def test_a_setting_s_value(results: Path, capsys: pytest.CaptureFixture[str], setting: str, value: str) -> None:
    Path("landscape.toml").write_text(setting.format(value))
    command = ["check", "--from", str(results)] if "check" in setting.partition("=")[0] else ["eig", "none.pt"]
    answered(capsys, *command[: 1 if "checkpoint" in setting else None])


@pytest.mark.parametrize("place", ["{} = 1", "[eig]\n{} = 1", "[{}]\na = 1", '[check.metrics]\n{} = "2%"'])
@pytest.mark.parametrize("key", TOML_KEYS.values(), ids=TOML_KEYS)
def test_a_setting_s_key(results: Path, capsys: pytest.CaptureFixture[str], place: str, key: str) -> None:
    Path("landscape.toml").write_text(place.format(key))
    text = answered(capsys, "check", "--from", str(results))
    assert "fix:" in text


@pytest.mark.parametrize(
    "content",
    [b"a = '\xff'", b"a = 1\0", b"a = '\xed\xa0\x80'", b"[eig", b"[" * 3000, b'a = "'],
    ids=["latin-1", "nul", "surrogate", "cut", "brackets", "quote"],
)
def test_settings_that_are_no_toml(capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    Path("landscape.toml").write_bytes(content)
    assert "landscape.toml is not TOML" in answered(capsys, "eig", "none.pt")


def hostile_baselines(document: Any) -> Iterator[str]:
    """The document with each of its values in turn replaced by odd ones, and each of its keys by odd names."""
    for place in list(places(document)):
        for value in JSON_VALUES:
            changed = copy.deepcopy(document)
            inner(changed, place[:-1])[place[-1]] = value
            yield json.dumps(changed)
        for name in ("\0", "\ud800", f"a\n{PWNED}", "", "x" * 5000):
            changed = copy.deepcopy(document)
            table = inner(changed, place[:-1])
            table[name] = table.pop(place[-1])
            yield json.dumps(changed)
    yield from ("", "[" * 100_000, '{"a":' * 3000, json.dumps(document)[:-9], '{"schema": ' + "9" * 5000 + "}")


def places(document: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, value in document.items():
        yield (*where, key)
        if isinstance(value, dict):
            yield from places(value, (*where, key))


def inner(document: Any, where: Sequence[str]) -> Any:
    for key in where:
        document = document[key]
    return document


def test_baselines(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", "--from", str(results), "--metric", "eig.loss"]
    assert status([*command, "--update"]) == 0
    document = json.loads(Path("landscape-baseline.json").read_text())
    (entry,) = document["checkpoints"].values()
    entry["runs"]["eig"]["fingerprint"] = dict(list(entry["runs"]["eig"]["fingerprint"].items())[:2])
    formats = ("text", "github", "junit", "markdown", "json")
    for number, text in enumerate(hostile_baselines(document)):
        Path("landscape-baseline.json").write_text(text)
        answered(capsys, *command, "--format", formats[number % len(formats)], codes=(0, 1, 2, 3))
    assert number > 200


@pytest.mark.parametrize(
    "name",
    ["\0", "\ud800", "x" * 5000, "..", "", "a/b", "/etc/passwd", f"a\n{PWNED}", "\x1b[31m", "😀" * 300, 3, None, []],
    ids=lambda name: ascii(name)[:12],
)
def test_a_shard_s_name_in_an_index(capsys: pytest.CaptureFixture[str], name: Any) -> None:
    Path("hf").mkdir()
    index = Path("hf/model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": {"w": name}}))
    for command in ("inspect", "eig", "edit"):
        text = answered(capsys, command, "hf")
        assert command == "edit" or "names files that cannot be in its directory" in text


def test_a_tensor_s_name(capsys: pytest.CaptureFixture[str]) -> None:
    Path("hf").mkdir()
    save_file({f"a\n{PWNED}": np.ones(2)}, "hf/model.safetensors")
    assert r"a\n::error::pwned" in answered(capsys, "inspect", "hf")
    save_file({"::error::b": np.ones(2)}, "hf/model.safetensors")
    assert r"\x3a:error::b" in answered(capsys, "inspect", "hf", codes=(0,))


@pytest.mark.parametrize(
    "name",
    [f"a\n{PWNED}", "::error::a", "a ##[error]b", "$\\frac$_^{", "[red]a", "\x1b[31m\u202e日本", "a\udcff"],
    ids=ascii,
)
def test_a_checkpoint_s_name_is_one_word_of_every_output(
    results: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    shutil.copy(results.with_name("a.pt"), f"{name}.pt")
    answered(capsys, "eig", f"./{name}.pt", "-k", "1", "--limit", "50", codes=(0,))
    file, metric = f"{name}.landscape.h5", ("--metric", "eig.loss")
    for command in (["show"], ["plot", "-o", "a.svg"], ["show", "--json"], ["check", *metric, "--update", "--from"]):
        answered(capsys, *command, file, codes=(0,))
    ElementTree.parse("a.svg")
    baseline = Path("landscape-baseline.json")
    baseline.write_text(baseline.read_text().replace('"value": ', '"value": -'))
    for form in ("text", "github", "junit", "markdown", "json"):
        text = answered(capsys, "check", *metric, "--from", file, "--format", form, codes=(1,))
        assert not [line for line in text.splitlines() if line.strip().startswith("::error::")]
        assert "##[" not in text


class TestSpecialFiles:
    """In the place of every file that is read or written."""

    @pytest.fixture(params=["pipe", "socket", "device", "folder", "circle"])
    def special(self, request: pytest.FixtureRequest) -> Path:
        path = Path("special.landscape.h5")
        make = {"pipe": os.mkfifo, "folder": os.mkdir}.get(request.param)
        if make:
            make(path)
        elif request.param == "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        else:
            path.symlink_to("/dev/zero" if request.param == "device" else path.name)
        return path

    @pytest.mark.parametrize(
        "command",
        [
            ["show", "{}"],
            ["plot", "{}"],
            ["export", "{}", "--csv"],
            ["check", "--from", "{}"],
            ["check", "--from", "RESULTS", "--against", "{}"],
            ["check", "--from", "RESULTS", "--baseline", "{}"],
            ["check", "--from", "RESULTS", "--baseline", "{}", "--update"],
            ["inspect", "{}"],
            ["eig", "{}"],
            ["--config", "{}", "eig", "none.pt"],
            ["eig", "CHECKPOINT", "--data", "{}"],
        ],
        ids=" ".join,
    )
    def test_it_is_refused_at_once(
        self, results: Path, capsys: pytest.CaptureFixture[str], special: Path, command: Sequence[str]
    ) -> None:
        words = {"RESULTS": str(results), "CHECKPOINT": str(results.with_name("a.pt"))}
        text = answered(capsys, *(words.get(word, word.format(special)) for word in command))
        assert "fix:" in text

    def test_no_result_is_written_into_it(
        self, results: Path, capsys: pytest.CaptureFixture[str], special: Path
    ) -> None:
        folder = special.is_dir()  # results go into a folder
        checkpoint = str(results.with_name("a.pt"))
        answered(capsys, "eig", checkpoint, "-o", str(special), "-k", "1", "--no-plot", codes=(0,) if folder else (2,))
        assert folder or special.is_symlink() or not special.is_file()


def test_a_huge_sparse_file_is_not_read(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("huge").touch()
    os.truncate("huge", 1 << 40)
    Path("landscape-baseline.json").symlink_to("huge")
    for command in (["check", "--from", str(results)], ["--config", "huge", "eig", "none.pt"], ["show", "huge"]):
        assert "huge" in answered(capsys, *command) or command[0] == "check"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize(
    "command", ["show RESULTS", "show --json RESULTS", "check --from RESULTS --against RESULTS", "--help"]
)
def test_a_full_stdout_is_no_success_and_no_bug(results: Path, command: str) -> None:
    words = [str(results) if word == "RESULTS" else word for word in command.split()]
    with open("/dev/full", "w") as full:
        done = run_command(*words, stdout=full)
    assert done.returncode == 2
    assert "No space left on device" in done.stderr
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr
