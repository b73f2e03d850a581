"""The page of stored results: what was measured, numbers with errors, pictures, a glossary, and how to repeat it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

from landscape.analyses.tidy import optional_library
from landscape.errors import UsageError
from landscape.report.charts import Chart, charts_of
from landscape.report.glossary import glossary
from landscape.report.histories import history_section
from landscape.report.markup import Html, as_data, element, items, join, table
from landscape.report.page import Library, Section, build_page, notice, paragraphs
from landscape.report.pictures import overlay_of, picture_of
from landscape.report.provenance import data_warning, measurement_facts, provenance, reproduction
from landscape.report.sources import ReportSources
from landscape.report.surfaces import level_range, surface_charts
from landscape.report.tables import result_tables
from landscape.session import Results, results_of_same_matrix
from landscape.side_by_side import Cell, compare, labels_of_files
from landscape.storage.provenance import version_of

STEPS = 200  # of the slider of a contour's level
STATIC = "The pictures are static: with plotly (the extra [report]) they show values on hover, and surfaces rotate."
INTERACTIVE = "Charts show values on hover; dragging zooms or rotates, and a double click goes back."
CAPTIONS = {
    "eig": "Eigenvalues by rank with their residuals, and the residual of each after each product.",
    "density": "Density of all eigenvalues with its 95 % band.",
    "trace": "Estimates of the trace with their standard errors.",
    "sharpness": "Rise of the loss against the radius, in the worst case and on average, and what each ascent found.",
    "sensitivity": "Real changes of the loss by layer with their errors, and their second-order forecasts.",
    "surface": "The loss around the checkpoint.",
    "memorization": "What removing flat components of the weights costs each population.",
    "diagonal": "The diagonal of the matrix by group of parameters.",
    "flatness": "The largest gradient norm around the checkpoint against the radius.",
    "critical": "The loss along an update, the step at which it stops being lower, and its interval by the samples.",
    "llc": "The losses along the chains, and the estimate by the number of draws with its interval.",
    "edit": "What the edit costs each population.",
    "influence": "The samples that help and harm the queries most, and the influence of samples on themselves.",
}


def report_page(sources: ReportSources, *, library: Library | None = None, extra: Sequence[Section] = ()) -> str:
    """The page of these results as text; `extra` sections stand behind those of the results.

    With a library, charts show values on hover; without one, pictures are static, and the page says so.
    """
    results, histories = sources.results, sources.histories
    labels = labels_of_files([one.file for one in results])
    numbers = count(1)
    interactive = library is not None
    measured = [
        Section("What was measured", _overview(sources, labels)),
        *_comparison(labels, results),
        *(_of_file(label, one, numbers, interactive=interactive) for label, one in zip(labels, results, strict=True)),
    ]
    along = [history_section(file, one, next(numbers)) for file, one in histories]
    behind = [glossary([one.records for one in results]), provenance(labels, results), reproduction(results)]
    sections = [*(measured if results else []), *along, *extra, *(behind if results else [])]
    named = labels or [one.run or file.name for file, one in histories]
    title = f"Geometry of the loss: {named[0] if len(named) == 1 else f'{len(named)} {_kind(sources)}'}"
    return build_page(title, _lead(sources, static=not interactive), sections, library)


def _kind(sources: ReportSources) -> str:
    """What the page is about, in the plural."""
    return "runs" if not sources.results else "checkpoints" if not sources.histories else "checkpoints and runs"


def _lead(sources: ReportSources, *, static: bool) -> Iterator[Html]:
    """What stands below the title: when and by what it was made, and which files are missing."""
    version = version_of("loss-landscape-geometry")
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield element(
        "p", f"{made}, by landscape {version}. Values stand with their errors; every name links to its meaning."
    )
    yield element("p", STATIC if static else INTERACTIVE)
    if sources.unread:
        entries = (join([element("code", one.file), ": ", _lines(one.reason)]) for one in sources.unread)
        yield notice("Some files are missing here, since they could not be read", items(entries), kind="problem")
    if sources.unfinished:
        files = items(element("code", str(file)) for file in sources.unfinished)
        yield notice("Some measurements are unfinished; the same command resumes them", files)


def _lines(reason: str) -> Html:
    """The lines of an error one after the other."""
    return join((line.strip() for line in reason.splitlines()), "; ")


def _overview(sources: ReportSources, labels: Sequence[str]) -> Html:
    parts = [measurement_facts(labels, sources.results)]
    if groups := data_warning(labels, sources.results):
        parts.append(
            notice(
                "Not all of these results are of the same data: do not compare across", items(groups), kind="problem"
            )
        )
    return join(parts)


def _comparison(labels: Sequence[str], results: Sequence[Results]) -> Iterator[Section]:
    """The table and the picture of several checkpoints beside each other."""
    if len(results) < 2:
        return
    every = compare(*results, labels=labels)
    beside = replace(every, rows=tuple(row for row in every.rows if sum(map(_is_known, row.cells)) > 1))
    parts = [table(f"Several checkpoints; differences are from {labels[0]}", beside.header(), beside.cells())]
    parts.append(paragraphs(beside.notes()))
    if drawing := overlay_of(
        [one.records for one in results], labels, f"The results of {', '.join(labels)} in one picture"
    ):
        parts.append(_figure(drawing, "What all checkpoints have, in one picture."))
    yield Section("Side by side", join(parts))


def _is_known(cell: Cell) -> bool:
    return math.isfinite(cell.value)


def _of_file(label: str, one: Results, numbers: Iterator[int], *, interactive: bool) -> Section:
    """A section for a file, with a part for each of its results."""
    parts = tuple(Section(name, _of_result(name, one, next(numbers), interactive=interactive)) for name in one.records)
    return Section(f"Results of {label}", Html(), parts)


def _of_result(name: str, one: Results, number: int, *, interactive: bool) -> Html:
    """The verdict, the pictures, the tables and the remarks of a result."""
    result = one.records[name]
    beside = results_of_same_matrix(one.groups, name)
    parts = [element("p", one.title(name))]
    if trouble := result.trouble():
        fix = [element("p", "What helps: ", element("code", trouble.fix))] if trouble.fix else []
        parts.append(notice(f"Inconclusive: {trouble.why}", *fix, kind="problem"))
    charts = (surface_charts if name == "surface" else _charts)(result, beside) if interactive else []
    drawing = picture_of(result, beside, f"figure-{number}", _description(one.title(name), name, charts))
    if drawing:
        parts.append(_figure(drawing, CAPTIONS.get(name, f"The result of {name}."), _plots(charts, number, result)))
    purchase = [*result.sentences(), result.bought(), result.more(float(one.groups[name].attributes["wall_time_s"]))]
    return join([*parts, result_tables(name, result), items(filter(None, purchase))])


def _charts(result: Any, beside: Mapping[str, Any]) -> list[Chart]:
    return charts_of(str(result.attributes.get("analysis")), result, beside)


def _description(title: str, name: str, charts: Sequence[Chart]) -> str:
    """What a reader who does not see a picture hears instead."""
    return f"{name} of {title}: {'; '.join(chart.label for chart in charts) or CAPTIONS.get(name, name)}"


def _figure(drawing: Html, caption: str, plots: Html | None = None) -> Html:
    return element("figure", plots or Html(), element("div", drawing, class_="drawn"), element("figcaption", caption))


def _plots(charts: Sequence[Chart], number: int, result: Any) -> Html:
    """The places of the charts with their data, and the slider of those that share a level; nothing without charts."""
    places = []
    for place, chart in enumerate(charts):
        name, level = f"chart-{number}-{place}", f"{chart.level}-{number}" if chart.level else None
        data = as_data({"data": chart.data, "layout": chart.layout})
        places.append(element("script", data, type="application/json", id=name))
        tall = "plot tall" if chart.solid else "plot"
        places.append(
            element("div", class_=tall, data_chart=name, data_level=level, data_solid="yes" if chart.solid else None,
                    role="img", aria_label=chart.label)
        )  # fmt: skip
    levels = {f"{chart.level}-{number}" for chart in charts if chart.level}
    places += [_slider(level, result) for level in levels]
    return element("div", *places, class_="plots") if places else Html()


def _slider(level: str, result: Any) -> Html:
    low, high, first, logarithmic = level_range(result)
    step = (high - low) / STEPS or 1.0
    slider = element(
        "input", type="range", id=level, min=f"{low:.6g}", max=f"{high:.6g}", step=f"{step:.3g}", value=f"{first:.6g}",
        data_level=level, data_scale="log" if logarithmic else "linear",
    )  # fmt: skip
    label = element("label", "Contour at loss", for_=level)
    return element("div", label, slider, element("output", for_=level), class_="level")


def library_script() -> Library | None:
    """The program of plotly that draws charts in a browser; None if plotly is not installed."""
    try:
        return Library(str(optional_library("plotly.offline").get_plotlyjs()))
    except UsageError:
        return None
