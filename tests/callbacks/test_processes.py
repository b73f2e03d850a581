"""A training by several processes: the first measures, and all of them train as if it did not."""

from __future__ import annotations

from pathlib import Path

import pytest
import rank_processes


@pytest.mark.slow
def test_the_first_process_of_a_training_measures_and_no_bit_changes(tmp_path: Path) -> None:
    script = Path(__file__).parent / "ddp_training.py"
    ended = rank_processes.together([str(script)], 2, tmp_path)
    assert ended.codes == (0, 0), ended.errors
    assert ended.out.split("\n")[0] == "True [0, 2, 4] ['', '', '']"
