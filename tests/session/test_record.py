"""The record of a measurement."""

from __future__ import annotations

from small_objectives import small_objective

from landscape import Sharpness, session


def test_the_notes_are_those_of_the_objective_and_of_the_result() -> None:
    analysis = Sharpness(m=3, starts=1, steps=2, draws=0)
    objective = small_objective()
    record = session.execute(analysis, objective)
    assert record.notes[: len(objective.notes)] == list(objective.notes)
    assert any("the last batch has 2" in note for note in record.notes)
    assert record.written == ()
    assert record.problem is None
