"""The table of every verdict: what is said, what is to be done, and the exit code."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import pytest
from gating import METRIC, entry, loss_verdict, run, seeds, verdict, verdicts, with_reading

from landscape.gates.entry import Entry
from landscape.gates.policy import parse_policy
from landscape.gates.reference import reference_of_files
from landscape.gates.verdict import baseline_entry, exit_code, judge


@dataclass(frozen=True)
class Case:
    """A baseline beside a candidate, and what comes of it."""

    baseline: Entry
    candidate: Entry
    status: str
    code: int
    why: str = ""
    fix: str = ""


CASES = {
    "pass": Case(entry(3.0), entry(3.01), "pass", 0),
    "regression": Case(entry(3.0), entry(3.1), "regression", 1, "is worse by +3.33 %, 1% is allowed", "--update"),
    "improvement": Case(entry(3.0), entry(2.9), "improvement", 0, "is better by -3.33 %", "--update"),
    "nan": Case(
        entry(3.0), entry(math.nan, not_gateable="it is nan"), "inconclusive", 3, "it is nan", "leave the metric out"
    ),
    "not-converged": Case(
        entry(3.0),
        entry(3.0, not_gateable="0 of 1 eigenvalues converged"),
        "inconclusive",
        3,
        "0 of 1 eigenvalues",
        "leave the metric out",
    ),
    "other-data": Case(
        entry(), entry(of=run(data="e" * 64)), "inconclusive", 3, "data: eeeeeeeeeeee..., in the", "--update"
    ),
    "other-params": Case(
        entry(), entry(of=replace(run(), params=("0.*",))), "inconclusive", 3, "params: ['0.*'], in", "measure as"),
    "other-option": Case(entry(), entry(of=run(k=5)), "inconclusive", 3, "k: 5, in the baseline 1", "measure as"),
    "other-dtype": Case(entry(), entry(of=run(dtype="float64")), "inconclusive", 3, "dtype: float64", "measure as"),
    "other-mode": Case(entry(), entry(of=run(mode="train")), "inconclusive", 3, "mode: train", "measure as"),
    "other-method": Case(entry(), entry(of=run(operator="ggn")), "inconclusive", 3, "operator: ggn, in"),
    "other-size": Case(entry(), entry(of=replace(run(), parameters=99)), "inconclusive", 3, "size: 99, in the"),
    "another-start": Case(entry(), entry(of=run(seed=1)), "pass", 0),
    "other-weights": Case(entry(), entry(of=run(weights="other")), "pass", 0),
    "missing-in-the-baseline": Case(
        replace(entry(), readings={}), entry(), "inconclusive", 3, "the baseline has nothing of this metric", "--update"
    ),
    "missing-in-the-candidate": Case(
        entry(), replace(entry(), readings={}), "inconclusive", 3, "eig was not measured", "landscape eig"
    ),
    "negative-baseline-worse": Case(entry(-3.0), entry(-2.9), "regression", 1, "worse by +3.33 %"),
    "negative-baseline-better": Case(entry(-3.0), entry(-3.1), "improvement", 0, "better by -3.33 %"),
    "negative-baseline-same": Case(entry(-3.0), entry(-3.0), "pass", 0),
    "zero-baseline": Case(entry(0.0, error=None), entry(0.1, error=None), "regression", 1, "worse by +0.1, 1% is"),
    "zero-baseline-same": Case(entry(0.0, error=None), entry(1e-9, error=None), "pass", 0),
    "other-training-loss": Case(
        entry(of=run(0.1)), entry(3.5, of=run(0.112)), "inconclusive", 3, "the losses differ by more than 10%"
    ),
    "nearly-the-same-loss": Case(entry(of=run(0.1)), entry(3.5, of=run(0.11)), "regression", 1, "worse"),
    "huge-variance": Case(entry(3.0), entry(2.9, error=5.0), "inconclusive", 3, "its own error is 5, where"),
    "huge-variance-and-worse": Case(entry(3.0), entry(4.0, error=5.0), "regression", 1, "worse"),
    "ambiguous": Case(entry(3.0), entry(3.1, not_unique="multimodal"), "warning", 0, "worse by +3.33 %"),
    "ambiguous-baseline": Case(entry(3.0, not_unique="multimodal"), entry(3.1), "warning", 0, "worse by +3.33 %"),
    "ambiguous-and-the-same": Case(entry(3.0), entry(3.0, not_unique="multimodal"), "pass", 0),
    "unknown-baseline": Case(entry(3.0, not_gateable="it is nan"), entry(3.0), "inconclusive", 3, "a.pt: it is nan"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_verdict(case: Case) -> None:
    found = verdict(case.baseline, case.candidate)
    assert found.status == case.status
    assert exit_code([found]) == case.code
    assert case.why in found.why
    assert case.fix in found.fix
    assert bool(found.fix) == (case.status != "pass")


def test_a_metric_that_only_warns_never_fails() -> None:
    for name, case in CASES.items():
        found = verdict(case.baseline, case.candidate, rule={"level": "warn", "max_increase": "1%"})
        assert found.status in ({case.status} if case.code == 0 else {"warning"}), name
        assert exit_code([found]) == 0


def test_a_missing_checkpoint_is_inconclusive_and_never_compared_with_another() -> None:
    found = verdict([entry(name="a.pt"), entry(name="b.pt")], entry(name="c.pt"))
    assert (found.status, found.why) == ("inconclusive", "the baseline has nothing of this checkpoint")


def test_what_the_policy_does_not_name_is_stale_and_what_is_off_is_not() -> None:
    held = entry()
    both = replace(held, readings={**held.readings, "eig.loss": held.readings[METRIC]})
    _, stale = verdicts(both, held)
    assert (stale.status, stale.metric, exit_code([stale])) == ("stale", "eig.loss", 0)
    assert "--update leaves it out" in stale.fix
    assert len(judge(parse_policy(metrics={METRIC: "1%", "eig.loss": "off"}), [both], [held])) == 1


def test_the_worst_decides() -> None:
    found = {name: verdict(case.baseline, case.candidate) for name, case in CASES.items()}
    assert exit_code(found.values()) == 1
    assert exit_code([found["pass"], found["nan"]]) == 3
    assert exit_code([found["pass"], found["improvement"], found["ambiguous"]]) == 0


def test_both_directions_fail_on_request() -> None:
    found = verdict(entry(3.0), entry(2.9), rule={"max_change": "1%"})
    assert (found.status, exit_code([found])) == ("regression", 1)
    assert "changed by -3.33 %" in found.why


def test_what_differs_but_may_be_compared_is_told() -> None:
    other = replace(run(parameters="q"), device="cuda:0", environment={"torch": "2.14.0", "processor": "x86_64"})
    found = verdict(entry(), entry(of=other))
    assert found.status == "pass"
    assert any("torch 2.14.0 here, 2.13.0 in the baseline" in note for note in found.notes)
    assert any("device cuda here, cpu" in note for note in found.notes)
    assert any("other names" in note for note in found.notes)


def test_a_comparison_says_what_noise_hides() -> None:
    found = verdict(entry(3.0, error=0.1), entry(3.1, error=0.1))
    assert found.status == "pass"
    assert any("beyond the tolerance, but within noise" in note for note in found.notes)
    quiet = verdict(entry(3.0, error=0.1), entry(3.0, error=0.1))
    assert any("noise hides changes below 14.1 %" in note for note in quiet.notes)
    assert not verdict(entry(3.0), entry(3.0)).notes


class TestLoss:
    """Where losses are too far apart, one verdict says so, and the metrics keep their numbers."""

    def test_the_same_weights_with_a_higher_loss_are_another_function_which_is_a_regression(self) -> None:
        loss, metric = verdicts(entry(of=run(0.003, loss="mse")), entry(3.5, of=run(0.2, loss="mse")))
        assert (loss.metric, loss.status, loss.baseline, loss.candidate) == ("loss", "regression", 0.003, 0.2)
        assert loss.why == "this is not the same function: the loss is 0.2, in the baseline 0.003"
        assert "--kind retrained" in loss.fix
        assert "--update" not in loss.fix + metric.fix
        assert (metric.status, metric.baseline, metric.candidate, metric.change) == ("inconclusive", 3, 3.5, "+16.7 %")
        assert exit_code([loss, metric]) == 1

    def test_a_lower_loss_is_another_function_and_no_regression(self) -> None:
        found = loss_verdict(entry(of=run(0.2)), entry(of=run(0.1)))
        assert (found.status, found.change) == ("inconclusive", "-50 %")
        assert "not the same function" in found.why

    @pytest.mark.parametrize(
        ("losses", "status"),
        [((0.5, 0.54), "regression"), ((0.5, 0.511), "regression"), ((0.5, 0.46), "warning")],
        ids=["more", "just-more", "less"],
    )
    def test_the_same_weights_with_a_near_loss_are_another_function_too(
        self, losses: tuple[float, float], status: str
    ) -> None:
        """The metrics may be compared, and be better: it is still not the same function."""
        loss, metric = verdicts(entry(of=run(losses[0])), entry(2.0, of=run(losses[1])))
        assert (loss.metric, loss.status) == ("loss", status)
        assert loss.why.startswith("this is not the same function: the loss is")
        assert metric.status == "improvement"
        assert exit_code([loss, metric]) == (1 if status == "regression" else 0)

    @pytest.mark.parametrize("losses", [(0.5, 0.509), (0.5, 0.491), (1e-8, 1e-6)], ids=["more", "less", "rounding"])
    def test_conversions_may_change_the_loss_a_little(self, losses: tuple[float, float]) -> None:
        before, after = (entry(of=run(loss, loss="mse", dtype="float32")) for loss in losses)
        assert [one.metric for one in verdicts(before, after) if one.status != "inconclusive"] in ([METRIC], [])

    def test_a_rule_for_a_loss_replaces_that_on_the_function(self) -> None:
        rules = parse_policy(metrics={METRIC: "1%", "eig.loss": "20%"})
        readings = dict.fromkeys([METRIC, "eig.loss"], entry().readings[METRIC])
        before, after = (replace(entry(of=run(loss)), readings=readings) for loss in (0.5, 0.54))
        assert [one.metric for one in judge(rules, [before], [after])] == [METRIC, "eig.loss"]

    def test_it_warns_where_the_metrics_do(self) -> None:
        pair = entry(of=run(0.5)), entry(of=run(0.54))
        assert verdicts(*pair, rule={"level": "warn", "max_increase": "1%"})[0].status == "warning"

    @pytest.mark.parametrize(
        ("dtype", "losses", "status"),
        [
            ("float32", (1e-8, 1e-6), "inconclusive"),
            ("float32", (1e-8, 1e-5), "regression"),
            ("float64", (1e-8, 1e-6), "regression"),
            ("bfloat16", (0.01, 0.1), "inconclusive"),
            ("bfloat16", (0.01, 0.2), "regression"),
            ("float32", (0.1, math.nan), "inconclusive"),
        ],
        ids=["rounding", "more", "float64", "bfloat16", "more-than-bfloat16", "nan"],
    )
    def test_only_a_rise_beyond_rounding_is_an_answer(
        self, dtype: str, losses: tuple[float, float], status: str
    ) -> None:
        found = loss_verdict(*(entry(of=run(loss, dtype=dtype)) for loss in losses))
        assert found.status == status
        assert ("not the same function" in found.why) == (status == "regression")

    def test_it_is_said_once_for_each_checkpoint_above_its_metrics(self) -> None:
        rules = parse_policy(metrics={METRIC: "1%", "eig.loss": "1%"})
        known = [replace(entry(name=name), readings=dict.fromkeys([METRIC, "eig.loss"], entry().readings[METRIC]))
                 for name in ("a.pt", "b.pt")]  # fmt: skip
        worse = [replace(one, runs={"eig": run(0.5)}) for one in known]
        found = [(one.checkpoint, one.metric) for one in judge(rules, known, worse)]
        assert found == [(name, metric) for name in ("a.pt", "b.pt") for metric in ("loss", METRIC, "eig.loss")]

    def test_it_is_as_severe_as_the_metrics_that_it_concerns(self) -> None:
        pair = entry(of=run(0.003)), entry(of=run(0.2))
        assert loss_verdict(*pair, rule={"level": "warn", "max_increase": "1%"}).status == "warning"
        both = {METRIC: {"level": "warn"}, "eig.loss": "error"}
        readings = dict.fromkeys([METRIC, "eig.loss"], entry().readings[METRIC])
        found = judge(parse_policy(metrics=both), *([replace(one, readings=readings)] for one in pair))
        assert found[0].status == "regression"

    def test_retrained_groups_at_other_losses_are_inconclusive_with_both_means(self) -> None:
        found = loss_verdict(seeds(USUAL, 0.1), seeds([6.0, 6.4, 5.9], 0.2), "retrained")
        assert (found.status, found.baseline, found.candidate) == (
            "inconclusive",
            pytest.approx(0.1),
            pytest.approx(0.2),
        )
        assert found.why == "the loss is 0.2, in the baseline 0.1"
        assert "retrained" not in found.fix
        metric = verdict(seeds(USUAL, 0.1), seeds([6.0, 6.4, 5.9], 0.2), "retrained")
        assert (metric.baseline, metric.candidate) == (pytest.approx(2.9967, 1e-4), pytest.approx(6.0962, 1e-4))


class TestMeasuredNumbers:
    """What was measured is told, compared or not."""

    @pytest.mark.parametrize(
        ("baseline", "candidate", "values"),
        [
            (entry(3.0), entry(3.5, of=run(data="e")), (3.0, 3.5)),
            ([entry(3.0, "b.pt"), entry(3.0, "c.pt")], entry(3.5), (None, 3.5)),
            (entry(3.0), replace(entry(), readings={}), (3.0, None)),
            (entry(3.0), entry(3.5, not_gateable="0 of 1 eigenvalues converged"), (3.0, 3.5)),
        ],
        ids=["other-data", "not-in-the-baseline", "not-measured", "not-converged"],
    )
    def test_of_one_checkpoint(
        self, baseline: Entry, candidate: Entry, values: tuple[float | None, float | None]
    ) -> None:
        found = verdict(baseline, candidate)
        assert (found.status, (found.baseline, found.candidate)) == ("inconclusive", values)
        assert found.change == ("+16.7 %" if None not in values else "")

    def test_of_groups(self) -> None:
        few = verdict(seeds(USUAL), seeds([6.0, 6.0]), "retrained")
        assert (few.baseline, few.candidate) == (pytest.approx(2.9967, 1e-4), pytest.approx(6.0))
        one_without = [*seeds([6.0, 6.1]), replace(seeds([6.0, 6.1, 6.2])[2], readings={})]
        lacking = verdict(seeds(USUAL), one_without, "retrained")
        assert (lacking.baseline, lacking.candidate) == (pytest.approx(2.9967, 1e-4), None)
        unknown = verdict(seeds(USUAL), [*seeds([6.0, 6.1]), entry(math.nan, not_gateable="it is nan")], "retrained")
        assert unknown.candidate is not None
        assert math.isnan(unknown.candidate)
        assert unknown.change == ""


def test_sentences_name_what_the_candidate_is_compared_with() -> None:
    """`--against good.pt`: there is no baseline, and nothing writes one."""
    good = reference_of_files(["good.pt"])
    others = {
        "other-data": entry(of=run(data="e")),
        "other-loss": entry(of=run(0.5)),
        "other-torch": entry(of=replace(run(), environment={"torch": "9"})),
        "worse": entry(3.5),
        "better": entry(2.5),
        "other-name": entry(name="c.pt"),
        "lacking": with_reading(entry(), error=None),
    }
    for name, candidate in others.items():
        rules = parse_policy(metrics={METRIC: "1%"})
        found = judge(rules, [entry(name="good.pt")], [candidate], one_for_all=True, reference=good)
        told = " ".join(" ".join((one.why, one.fix, *one.notes)) for one in found)
        assert "baseline" not in told, name
        assert "--update" not in told, name
        assert ("--against" in told) == name.startswith(("other-data", "worse")), name
        assert ("good.pt" in told) == name.startswith(("other-data", "other-loss", "other-torch")), name


class TestPartner:
    def test_the_only_one_of_each_is_compared_whatever_its_name(self) -> None:
        earlier = entry(name="model.pt")
        candidate = entry(name="model.bf16.pt")
        assert baseline_entry(candidate, [earlier], alone=True) is earlier
        assert baseline_entry(candidate, [earlier], alone=False) is None
        assert baseline_entry(replace(candidate, path=""), [earlier], alone=True) is None, (
            "a name that was chosen must be there"
        )
        (found,) = verdicts(earlier, candidate)
        assert (found.status, found.notes) == ("pass", ("compared with model.pt, the only one of the baseline",))

    def test_one_is_compared_with_all_where_that_is_asked_for(self) -> None:
        several = [entry(name="a.pt"), entry(name="b.pt")]
        rules = parse_policy(metrics={METRIC: "1%"})
        assert {one.status for one in judge(rules, [entry(name="c.pt")], several, one_for_all=True)} == {"pass"}
        assert {one.status for one in judge(rules, [entry(name="c.pt")], several)} == {"inconclusive"}

    def test_the_end_of_the_path_decides(self) -> None:
        known = [entry(name="a/model.pt"), entry(name="b/model.pt")]
        candidate = replace(entry(name="model.pt"), path="/home/me/b/model.pt")
        assert baseline_entry(candidate, known, alone=True) is known[1]
        stranger = replace(entry(name="model.pt"), path="/home/me/xb/model.pt")
        assert baseline_entry(stranger, known, alone=True) is None


USUAL = [3.0, 3.2, 2.9, 3.1, 2.8]


class TestRetrained:
    @pytest.mark.parametrize(
        ("candidates", "status", "why"),
        [
            ([3.0, 3.1, 2.9], "pass", ""),
            ([6.0, 6.4, 5.9], "regression", "is worse by +103 %, 25% is allowed, p = "),
            ([1.5, 1.6, 1.4], "improvement", "better by -50"),
            ([0.1, 3.0, 20.0], "inconclusive", "spread is"),
            ([6.0, 6.4], "inconclusive", "2 candidate checkpoints: a change cannot be distinguished"),
            ([6.0], "inconclusive", "1 candidate checkpoint: "),
        ],
        ids=["pass", "regression", "improvement", "scattered", "two", "one"],
    )
    def test_groups_are_compared(self, candidates: list[float], status: str, why: str) -> None:
        found = verdict(seeds(USUAL), seeds(candidates), "retrained", "25%")
        assert found.status == status
        assert why in found.why
        assert exit_code([found]) == {"regression": 1, "inconclusive": 3}.get(status, 0)

    def test_what_is_stale_is_named_once(self) -> None:
        more = [replace(one, readings={**one.readings, "eig.loss": one.readings[METRIC]}) for one in seeds(USUAL)]
        stale = [one for one in verdicts(more, seeds([3.0, 3.1, 2.95]), "retrained") if one.status == "stale"]
        assert [(one.metric, one.checkpoint) for one in stale] == [("eig.loss", "5 checkpoints")]
