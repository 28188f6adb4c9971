"""How records draw themselves: the functions behind ``plot``, ``text`` and ``_repr_html_``."""

from __future__ import annotations

from typing import Any

from pellucid.records.attention import AttentionMaps
from pellucid.records.drawing import register
from pellucid.records.errors import NotApplicable, UnknownName
from pellucid.records.explanation import Explanation
from pellucid.records.flow import Flow
from pellucid.records.importance import Importance
from pellucid.records.inspection import Inspection
from pellucid.records.interactions import Interactions
from pellucid.records.preflight import Preflight
from pellucid.records.recording import Recording
from pellucid.records.rules import Rules
from pellucid.records.sets import Sets
from pellucid.records.study import Study
from pellucid.records.trace import Trace

from .figures.theme import by_itself

KINDS = ("bar", "waterfall", "force", "image", "text", "answer", "series", "beeswarm", "summary")
"""The figures of an explanation by name: seven of one row (bars, of all rows where none is named), two of all rows."""

ONE_ROW = ", ".join(map(repr, KINDS[:7]))


@register("plot", Explanation)
def plot_explanation(explanation: Explanation, kind: str = "auto", row: int | None = None, **options: Any) -> Any:
    """A figure by name: of one row (the first, where none is named) or of all of them.

    ``"auto"``: contributions laid over the picture, the text or the series, of an answer with its tokens
    (``"answer"``) the words of the prompt by those, bars of one row for everything else.
    ``"bar"``: one row's contributions; with several rows and none named, the mean sizes over them (of texts, word by
    word).
    """
    from . import figures
    from .marked_text import is_text
    from .stretches import is_series
    from .words import Words, is_attention

    if kind == "auto":
        kinds = {"image": figures.is_image, "answer": figures.is_answer, "text": is_text, "series": is_series}
        kind, row = next((name for name, fits in kinds.items() if fits(explanation)), "bar"), row or 0
    if kind not in KINDS:
        raise UnknownName.among("figure", kind, KINDS)
    if kind in ("beeswarm", "summary"):
        if row is not None:
            raise NotApplicable(f"a {kind} is of all rows, and row {row} was asked for", fix=f"of one row: {ONE_ROW}")
        chart = {"beeswarm": figures.beeswarm, "summary": figures.summary}[kind](explanation, **options)
    elif kind == "bar" and row is None and len(explanation) > 1:
        chart = (figures.words_overall if is_text(explanation) else figures.importance)(explanation, **options)
    elif kind == "text" and not is_text(explanation):
        raise NotApplicable("the players of this explanation are no parts of texts", fix="use kind='bar'")
    else:
        draw = {"bar": figures.contributions, "waterfall": figures.waterfall, "force": figures.force,
                "image": figures.image_overlay, "text": figures.marked_text, "answer": figures.answer_map,
                "series": figures.series_bands}[kind]  # fmt: skip
        chart = draw(explanation, row or 0, **options)
    if is_attention(explanation):
        chart = chart.properties(title=Words(options.get("language", "en"))("attention_title"))
    return by_itself(chart)


@register("text", Explanation)
def text_explanation(explanation: Explanation, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    from . import narrative

    return narrative.text(explanation, row, language, audience)


@register("html", Explanation)
def html_explanation(explanation: Explanation) -> str:
    from . import html, narrative

    return html.snippet(explanation, narrative.paragraphs)


@register("plot", Interactions)
def plot_interactions(e: Interactions, kind: str = "heatmap", row: int = 0, **options: Any) -> Any:
    """A row's interactions as a ``"heatmap"`` or as a ``"network"``."""
    from . import figures

    drawn = {"heatmap": figures.heatmap, "network": figures.network}
    if kind not in drawn:
        raise UnknownName.among("figure of interactions", kind, drawn)
    return by_itself(drawn[kind](e, row, **options))


@register("text", Interactions)
def text_interactions(e: Interactions, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    from . import together

    return together.text(e, row, language, audience)


@register("html", Interactions)
def html_interactions(e: Interactions) -> str:
    from . import html, together

    return html.snippet(e, together.paragraphs)


@register("plot", Rules)
def plot_rules(rules: Rules, row: int = 0, **options: Any) -> Any:
    """A row's figure: the kept parts of a picture, a list of conditions for everything else."""
    from . import figures

    draw = figures.rule_overlay if figures.is_image(rules) else figures.rule_list
    return by_itself(draw(rules, row, **options))


@register("text", Rules)
def text_rules(rules: Rules, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    from . import narrative

    return "\n\n".join(narrative.rule_paragraphs(rules, row, language, audience))


@register("html", Rules)
def html_rules(rules: Rules) -> str:
    from . import html, narrative

    return html.snippet(rules, narrative.rule_paragraphs)


@register("plot", Sets)
def plot_sets(sets: Sets, row: int = 0, **options: Any) -> Any:
    """A row's figure: the members on the picture, a list of them for everything else."""
    from . import figures

    draw = figures.rule_overlay if figures.is_image(sets) else figures.set_list
    return by_itself(draw(sets, row, **options))


@register("text", Sets)
def text_sets(sets: Sets, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    from . import narrative

    return "\n\n".join(narrative.set_paragraphs(sets, row, language, audience))


@register("html", Sets)
def html_sets(sets: Sets) -> str:
    from . import html, narrative

    return html.snippet(sets, narrative.set_paragraphs)


@register("plot", Importance)
def plot_importance(importance: Importance, **options: Any) -> Any:
    """Bars with their intervals, the most important first."""
    from . import figures

    return by_itself(figures.overall(importance, **options))


@register("text", Importance)
def text_importance(importance: Importance, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    """About all rows together: neither a row nor a reader's trade changes it."""
    from . import overall

    return overall.text(importance, language)


@register("html", Importance)
def html_importance(importance: Importance) -> str:
    from . import html

    return html.overall_snippet(importance)


@register("plot", Trace)
def plot_trace(trace: Trace, row: int = 0, **options: Any) -> Any:
    """A row's strongest units as bars."""
    from . import figures

    return by_itself(figures.strongest_units(trace, row, **options))


@register("text", Trace)
def text_trace(trace: Trace, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    from . import inside

    return inside.text(trace, row, language, audience)


@register("html", Trace)
def html_trace(trace: Trace) -> str:
    from . import html, inside

    return html.snippet(trace, inside.paragraphs)


@register("plot", Flow)
def plot_flow(flow: Flow, row: int = 0, **options: Any) -> Any:
    """What passes from the inputs through the layers to the output, as a flow figure."""
    from . import figures

    return by_itself(figures.decision_flow(flow, row, **options))


@register("text", Flow)
def text_flow(flow: Flow, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    from . import path

    return path.text(flow, row, language, audience)


@register("html", Flow)
def html_flow(flow: Flow) -> str:
    from . import html, path

    return html.snippet(flow, path.paragraphs)


@register("plot", AttentionMaps)
def plot_attention(maps: AttentionMaps, row: int = 0, **options: Any) -> Any:
    """A row's maps, layers by heads."""
    from . import figures

    return by_itself(figures.attention_grid(maps, row, **options))


@register("text", AttentionMaps)
def text_attention(maps: AttentionMaps, row: int = 0, language: str = "en", audience: str = "expert") -> str:
    from . import attending

    return attending.text(maps, row, language, audience)


@register("html", AttentionMaps)
def html_attention(maps: AttentionMaps) -> str:
    from . import attending, html

    return html.snippet(maps, attending.paragraphs)


@register("plot", Inspection)
def plot_inspection(found: Inspection, kind: str = "units", **options: Any) -> Any:
    """A figure by name: of units, activations, gradients, weights, embeddings, filters, or what drives units."""
    from .figures import inspection

    drawn = {
        "units": inspection.idle_units, "activations": inspection.activation_ranges,
        "gradients": inspection.gradient_sizes, "weights": inspection.weight_ranges,
        "embedding": inspection.embeddings, "filters": inspection.first_filters,
        "examples": inspection.driving_pictures,
    }  # fmt: skip
    if kind not in drawn:
        raise UnknownName.among("figure of an inspection", kind, drawn)
    return by_itself(drawn[kind](found, **options))


@register("text", Inspection)
def text_inspection(found: Inspection, language: str = "en") -> str:
    from . import inspected

    return inspected.text(found, language)


@register("html", Inspection)
def html_inspection(found: Inspection) -> str:
    from . import html

    return html.inspection_snippet(found)


@register("plot", Recording)
def plot_recording(found: Recording, kind: str = "weights", name: str | None = None, **options: Any) -> Any:
    """A kind of series over the epochs, or one series' histograms."""
    from .figures import recording

    if name is None:
        return by_itself(recording.spread_over_epochs(found, kind, **options))
    return by_itself(recording.histograms(found, kind, name, **options))


@register("text", Recording)
def text_recording(found: Recording, language: str = "en") -> str:
    from . import recorded

    return recorded.text(found, language)


@register("html", Recording)
def html_recording(found: Recording) -> str:
    from . import html

    return html.recording_snippet(found)


@register("text", Preflight)
def text_preflight(found: Preflight, language: str = "en") -> str:
    from . import before

    return before.text(found, language)


@register("html", Preflight)
def html_preflight(found: Preflight) -> str:
    from . import html

    return html.preflight_snippet(found)


@register("html", Study)
def html_study(study: Study) -> str:
    from . import html

    return html.card(study)
