"""Text files as data, against the tokenizer by hand and the model's own loss."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from text_models import POSITIONS, TEXT, WORDS, saved_model, tokenizer, tokenizers

import landscape
from landscape.errors import CheckpointError, TaskError, UsageError
from landscape.evaluation.populations import populations
from landscape.operators import HessianOperator
from landscape.tasks.texts import TextSettings, read_text, text_settings

ROWS = [{"text": line, "domain": "ab"[number % 2]} for number, line in enumerate(TEXT.split("\n")) if line]


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Any]:
    return saved_model(tmp_path / "model")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


def own_loss(model: Any, ids: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[float, int]:
    """The summed loss of the model itself, and how many tokens it scores."""
    labels = ids if mask is None else ids.masked_fill(mask == 0, -100)
    scored = int((labels[:, 1:] != -100).sum())
    with torch.no_grad():
        return float(model(input_ids=ids, attention_mask=mask, labels=labels).loss.double()) * scored, scored


class TestPacked:
    def test_the_loss_is_the_model_s_own_on_the_tokens_by_hand(self, saved: tuple[Path, Any], text: Path) -> None:
        directory, model = saved
        objective = landscape.load(directory, data=str(text), seq_len=8)
        ids = tokenizer().encode(TEXT).ids
        expected = torch.tensor(ids[: len(ids) // 8 * 8]).view(-1, 8)
        total, scored = own_loss(model, expected)
        assert objective.count == scored
        assert float(objective.value()) == pytest.approx(total / scored, rel=1e-6)
        assert [note for note in objective.notes if note.startswith("text:")] == [
            f"text: 1 document of text.txt, {len(ids)} tokens, in {len(ids) // 8} sequences of 8 tokens, "
            f"{len(ids) % 8} tokens left over"
        ]

    def test_documents_follow_each_other(self, saved: tuple[Path, Any], rows: Path) -> None:
        found = read_text(rows, TextSettings(saved[0], seq_len=5))
        ids = [token for row in ROWS for token in tokenizer().encode(row["text"]).ids]
        assert torch.cat([batch["input_ids"] for batch in found]).flatten().tolist() == ids[: len(ids) // 5 * 5]
        assert set(next(iter(found))) == {"input_ids", "labels"}

    def test_a_limit_reads_no_more_than_it_needs(self, saved: tuple[Path, Any], tmp_path: Path) -> None:
        path = tmp_path / "long.jsonl"
        path.write_text("\n".join([json.dumps(ROWS[0])] * 64) + "\nbroken")
        with pytest.raises(TaskError, match="line 65 is no JSON"):
            landscape.load(saved[0], data=str(path), seq_len=4)
        objective = landscape.load(saved[0], data=str(path), seq_len=4, limit=3)
        assert objective.batches.samples == 3
        assert (
            "text: the beginning of long.jsonl, as far as --limit needs it, in 3 sequences of 4 tokens"
            in objective.notes
        )

    def test_the_model_s_positions_are_the_length_by_default(self, saved: tuple[Path, Any], text: Path) -> None:
        assert next(iter(read_text(text, TextSettings(saved[0]))))["input_ids"].shape == (1, POSITIONS)

    def test_it_has_a_hessian(self, saved: tuple[Path, Any], text: Path) -> None:
        objective = landscape.load(saved[0], data=str(text), seq_len=8, params=("*ln_f*",), dtype="float64")
        dense = HessianOperator(objective).to_dense()
        assert torch.allclose(dense, dense.T, atol=1e-12)
        assert float(dense.abs().max()) > 0


class TestPadded:
    def test_padding_has_no_label_and_no_loss(self, saved: tuple[Path, Any], rows: Path) -> None:
        directory, model = saved
        objective = landscape.load(directory, data=str(rows), padded=True)
        parts = [own_loss(model, torch.tensor([tokenizer().encode(row["text"]).ids])) for row in ROWS]
        scored = sum(count for _, count in parts)
        assert objective.count == scored
        assert float(objective.value()) == pytest.approx(sum(total for total, _ in parts) / scored, rel=1e-6)

    def test_each_line_of_a_plain_text_is_a_document(self, saved: tuple[Path, Any], text: Path) -> None:
        found = read_text(text, TextSettings(saved[0], padded=True))
        assert next(iter(found))["input_ids"].shape[0] == len(ROWS)

    def test_long_documents_are_cut_and_that_is_said(self, saved: tuple[Path, Any], rows: Path) -> None:
        found = read_text(rows, TextSettings(saved[0], padded=True, seq_len=4))
        lengths = [len(tokenizer().encode(row["text"]).ids) for row in ROWS]
        left = sum(max(length - 4, 0) for length in lengths)
        assert found.note == (
            f"text: {len(ROWS)} documents of text.jsonl, {sum(lengths)} tokens, in {len(ROWS)} sequences padded, "
            f"at most 4 tokens each, {left} tokens left over"
        )

    def test_other_fields_are_no_arguments_of_the_model(self, saved: tuple[Path, Any], rows: Path) -> None:
        objective = landscape.load(saved[0], data=str(rows), padded=True)
        batch = next(iter(objective.batches))
        assert batch.inputs["domain"] == [row["domain"] for row in ROWS]
        assert set(batch.arguments[1]) == {"input_ids", "attention_mask"}


class TestTokenizers:
    def test_another_directory_or_file_may_have_it(self, saved: tuple[Path, Any], text: Path, tmp_path: Path) -> None:
        found = read_text(text, TextSettings(saved[0]))
        file = (saved[0] / "tokenizer.json").rename(tmp_path / "tokenizer.json")
        with pytest.raises(TaskError, match=r"no tokenizer.json in .*model\n.*--tokenizer DIR.*save_pretrained"):
            landscape.load(saved[0], data=str(text))
        for place in (tmp_path, file):
            again = read_text(text, TextSettings(saved[0], tokenizer=str(place)))
            assert torch.equal(next(iter(again))["input_ids"], next(iter(found))["input_ids"])
        assert landscape.load(saved[0], data=str(text), tokenizer=str(tmp_path)).count == POSITIONS - 1

    def test_truncation_and_padding_of_the_file_are_off(self, saved: tuple[Path, Any], text: Path) -> None:
        own = tokenizer()
        own.enable_truncation(3)
        own.enable_padding(length=40)
        own.save(str(saved[0] / "tokenizer.json"))
        assert "22 tokens" in read_text(text, TextSettings(saved[0])).note

    @pytest.mark.parametrize(
        "content", [b"", b"{", b'{"model": 3}', b"\x00\xff"], ids=["empty", "cut", "wrong", "bytes"]
    )
    def test_a_damaged_one(self, saved: tuple[Path, Any], text: Path, content: bytes) -> None:
        (saved[0] / "tokenizer.json").write_bytes(content)
        with pytest.raises(TaskError, match=r"is no tokenizer: .*\n.*--tokenizer DIR"):
            read_text(text, TextSettings(saved[0]))

    def test_one_that_panics(self, saved: tuple[Path, Any], text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        class Panic(BaseException):
            pass

        class Broken:
            def __getattr__(self, name: str) -> Any:
                raise Panic("no entry found for key")

        monkeypatch.setattr("tokenizers.Tokenizer.from_file", lambda file: Broken())
        with pytest.raises(TaskError, match=r"tokenizer.json is no tokenizer: no entry found for key"):
            read_text(text, TextSettings(saved[0]))

    def test_no_directory_at_all(self, text: Path) -> None:
        with pytest.raises(TaskError, match=r"no tokenizer is named\n.*--tokenizer DIR"):
            read_text(text, TextSettings())

    def test_without_its_library(self, saved: tuple[Path, Any], text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tokenizers", None)
        with pytest.raises(TaskError, match=r"needs tokenizers, which is not installed\n.*\[hf\]"):
            read_text(text, TextSettings(saved[0]))

    def test_one_of_another_model(self, tmp_path: Path, text: Path) -> None:
        directory, _ = saved_model(tmp_path / "small", vocab_size=len(WORDS))
        with pytest.raises(TaskError, match=r"the tokenizer gives token \d+, and the model has 11\n.*another model's"):
            landscape.load(directory, data=str(text))

    def test_a_directory_without_a_config_may_have_it(
        self, saved: tuple[Path, Any], text: Path, tmp_path: Path
    ) -> None:
        """As the directory of an adapter, whose model is described elsewhere."""
        (tmp_path / "adapter").mkdir()
        (saved[0] / "tokenizer.json").rename(tmp_path / "adapter" / "tokenizer.json")
        settings = text_settings({}, tmp_path / "adapter")
        assert len(list(read_text(text, replace(settings, seq_len=8)))) == 1


class TestWhatIsRefused:
    def test_too_few_tokens(self, saved: tuple[Path, Any], text: Path) -> None:
        text.write_text("the cat")
        with pytest.raises(TaskError, match=r"3 tokens, too few for one sequence of 16\n.*--seq-len 3, or --padded"):
            landscape.load(saved[0], data=str(text))
        assert landscape.load(saved[0], data=str(text), seq_len=3).count == 2
        assert landscape.load(saved[0], data=str(text), padded=True).count == 2

    @pytest.mark.parametrize("padded", [False, True])
    def test_a_single_token_has_no_next_one(self, saved: tuple[Path, Any], text: Path, padded: bool) -> None:
        plain = tokenizers.Tokenizer.from_file(str(saved[0] / "tokenizer.json"))
        plain.post_processor = tokenizers.processors.TemplateProcessing(single="$A", special_tokens=[])
        plain.save(str(saved[0] / "tokenizer.json"))
        text.write_text("the")
        with pytest.raises(TaskError, match=r"has two tokens: there is no next one to predict\n.*fix:  a longer text$"):
            landscape.load(saved[0], data=str(text), padded=padded)
        rows = text.with_suffix(".jsonl")
        rows.write_text('{"text": "the"}\n{"text": "cat"}')
        remedy = r"--limit N of more$" if padded else r"fix:  --seq-len 2$"
        with pytest.raises(TaskError, match=remedy):
            landscape.load(saved[0], data=str(rows), padded=padded)
        if not padded:
            assert landscape.load(saved[0], data=str(rows), seq_len=2).count == 1

    @pytest.mark.parametrize("padded", [False, True])
    def test_an_empty_file(self, saved: tuple[Path, Any], text: Path, padded: bool) -> None:
        text.write_text("")
        with pytest.raises(TaskError, match="is empty: it gave no token"):
            landscape.load(saved[0], data=str(text), padded=padded)

    def test_more_tokens_than_positions(self, saved: tuple[Path, Any], text: Path) -> None:
        with pytest.raises(TaskError, match=r"--seq-len 17 is more than the 16 positions.*\n.*--seq-len 16"):
            landscape.load(saved[0], data=str(text), seq_len=17)

    def test_a_file_whose_tokens_do_not_fit(
        self, saved: tuple[Path, Any], text: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("landscape.tasks.texts.room", lambda *_: 100)
        with pytest.raises(TaskError, match=r"may not fit into memory\n.*--limit N"):
            read_text(text, TextSettings(saved[0]))
        assert len(list(read_text(text, TextSettings(saved[0], limit=1)))) == 1

    def test_a_model_that_needs_labels(self, saved: tuple[Path, Any], text: Path) -> None:
        config = json.loads((saved[0] / "config.json").read_text())
        (saved[0] / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
        with pytest.raises(TaskError, match=r"BertForMaskedLM is no model of the next token.*\n.*with labels"):
            read_text(text, TextSettings(saved[0]))

    @pytest.mark.parametrize(
        "option", [{"seq_len": 8}, {"padded": True}, {"text_field": "a"}, {"tokenizer": "a"}], ids=str
    )
    def test_options_of_texts_for_other_data(self, saved: tuple[Path, Any], option: dict[str, Any]) -> None:
        with pytest.raises(UsageError, match=r"is for text files, and digits is none"):
            landscape.load(saved[0], data="digits", **option)

    def test_a_config_that_is_no_json(self, saved: tuple[Path, Any], text: Path) -> None:
        (saved[0] / "config.json").write_text("{")
        with pytest.raises(CheckpointError, match="is no JSON"):
            read_text(text, TextSettings(saved[0]))


def test_a_population_may_be_a_text(saved: tuple[Path, Any], text: Path, rows: Path) -> None:
    objective = landscape.load(saved[0], data=str(text), seq_len=8)
    other = populations(objective, [f"never-seen={rows}"])["never-seen"]
    assert float(other.value()) == pytest.approx(
        float(landscape.load(saved[0], data=str(rows), seq_len=8).value()), rel=1e-6
    )
