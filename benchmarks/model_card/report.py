"""Sections of the model card: each takes a report, and gives paragraphs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shared.report import interval
from sluicegate.engines.adapt.report import ruled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

LEAST_ROWS: Final = 30
"""Judged rows of a language, below which nothing is said of it."""
NOT_RUN: Final = "Not run."
AGREEMENT_MEAN: Final = 0.01
AGREEMENT_MAX: Final = 0.1
"""How far an exported model may be from the trained one: docs/adapters.md."""
SHOWN: Final = {"macro_f1": "macro-F1", "auroc_safe": "AUROC"}


def unfit(line: Mapping[str, Any], trained: Sequence[str] | None) -> str | None:
    """Why the adapter is not fit for a language; None if it is. The rule, and all of it.

    Args:
        line: A language's line of ``evaluate.json``.
        trained: Languages that it was trained on; None if that is not known.
    """
    ours, others = line["adapter"], line["baseline"]
    if trained is not None and line["language"] not in trained:
        return "not trained on"
    if line["rows"] < LEAST_ROWS:
        return f"fewer than {LEAST_ROWS} rows"
    if any(name not in ours or name not in others for name in SHOWN):
        return "one side only in dev"
    below = [said for name, said in SHOWN.items() if ours[name]["value"] < others[name]["value"]]
    return f"{' and '.join(below)} below the baseline" if below else None


def data(told: dict[str, Any]) -> Iterator[str]:
    """Where the training rows are from.

    Args:
        told: Their number as ``rows``, and ``sources`` by name, each with its licence and its number of rows.
    """
    yield (
        f"{told['rows']:,} training rows; dev rows never train. Rows of the project's own are in examples/adapt/rows. "
        "Reasons by template are marked in `label_basis`."
    )
    rows = [(name, one["licence"], one["rows"]) for name, one in told["sources"].items()]
    rows.sort(key=lambda one: (-one[2], one[0]))
    yield _table(("source", "licence", "training rows"), [(*one[:2], f"{one[2]:,}") for one in rows])
    for name, licence, _ in rows:
        if "(" in licence:
            yield f"The licence of `{name}` is as published, and not confirmed from the files."
    if "constraint_covid" in told["sources"]:
        yield (
            "The MIT licence of `constraint_covid` is that of the repository of a participant who carries the data; "
            "the task gave them out for research."
        )


def training(found: dict[str, Any]) -> Iterator[str]:
    lora, optimiser = found["recipe"]["lora"], found["recipe"]["optimiser"]
    languages = ", ".join(f"{name} {rows:,}" for name, rows in found["languages"].items())
    yield (
        f"LoRA r {lora['r']}, alpha {lora['alpha']:g}, {len(lora['targets'])} modules a layer; layout `{found['layout']}`; "
        f"learning rate {optimiser['learning_rate']:g}. Trained on {found['rows']:,} of {found['planned_rows']:,} planned "
        f"rows, drawn from {found['examples']:,}. Planned by language: {languages}."
    )
    if found.get("begun_from_another"):
        yield (
            "It began with the adapter of an earlier sitting on rows drawn from the same data, which are not counted here: "
            "benchmarks/shipped_adapter has the recipes."
        )
    if found["languages_left_out"]:
        names = ", ".join(found["languages_left_out"])
        if found.get("one_sided_kept"):
            yield f"Without training rows, so that such languages can be measured: {names}."
        else:
            yield f"Left out, because all their rows have one severity: {names}."
    if found["dev"]:
        lines = [(f"{one['rows']:,}", *(_value(one[name]) for name in SHOWN)) for one in found["dev"]]
        yield _table(("rows trained on", *(f"dev {said}" for said in SHOWN.values())), lines)


def languages(found: dict[str, Any], trained: dict[str, Any] | None) -> Iterator[str]:
    known = None if trained is None else list(trained["languages"])
    systems = ("adapter", "base", "baseline")
    lines, named = [], []
    for line in found["languages"]:
        whole = line["language"] == "all"
        why = None if whole else unfit(line, known)
        if why:
            named.append(f"{line['language']} ({why})")
        cells = [interval(line[system].get(name)) for system in systems for name in SHOWN]
        lines.append((line["language"], f"{line['rows']:,}", *cells, "" if whole else why or "fit"))
    yield found["data"].removeprefix("data: ").capitalize() + "."
    head = [f"{system}: {said}" for system in systems for said in SHOWN.values()]
    yield _table(("language", "rows", *head, "fit?"), lines)
    yield (
        "Brackets hold 95 % bootstrap intervals; AUROC is that of safe against the rest. The base is the model without "
        "the adapter; the baseline counts words and letters, and was trained on the adapter's sources. "
        f"A language is fit if it was trained on, has {LEAST_ROWS} judged rows, and neither figure is below the baseline's."
    )
    yield f"**Not fit for:** {'; '.join(named) or 'none of the languages judged'}. Languages that are not in the table were not measured."
    if found["sources"]:
        lines = [
            (
                line["source"],
                f"{line['rows']:,}",
                *(interval(line[one].get(name)) for one in systems for name in SHOWN),
            )
            for line in found["sources"]
        ]
        yield "By licence: sources that it was trained on, and those whose licences kept them out."
        yield _table(("sources", "rows", *head), lines)


def transfer(found: dict[str, Any]) -> Iterator[str]:
    done = [one for one in found["sources"] if "adapter_minus" in one]
    if not done:
        yield "Only the baseline was run."
        return
    other = "baseline_same_rows"
    lines = [
        (
            one["source"],
            f"{one['dev_rows']:,}",
            interval(one["systems"]["adapter"].get("auroc_safe")),
            interval(one["systems"][other].get("auroc_safe")),
            interval(one["adapter_minus"][other]["auroc_safe"], "+"),
        )
        for one in done
    ]
    above = sum((one["adapter_minus"][other]["auroc_safe"] or {"value": 0})["value"] > 0 for one in done)
    yield (
        f"Some sources at a time left out of a training on {found['planned_rows']:,} rows: AUROC of adapter and baseline on "
        f"each source that neither saw. The adapter is above the baseline on {above} of {len(done)}."
    )
    yield _table(("left out", "rows", "adapter", "baseline, same rows", "difference"), lines)


def over_blocking(found: dict[str, Any], own: dict[str, Any] | None) -> Iterator[str]:
    groups = {f"dev rows: {name}": one for name, one in found["adapter"]["over_blocking"].items()}
    groups |= {
        f"our own rows: {name}": one for name, one in (own or {"over_blocking": {}})["over_blocking"].items()
    }
    lines = [
        (
            name,
            f"{one['rows']:,}",
            *(interval(one["measures"].get(each)) for each in ("false_positives", "false_unsafe")),
        )
        for name, one in groups.items()
    ]
    yield _table(("rows labelled safe", "rows", "found controversial or unsafe", "found unsafe"), lines)
    if own is None:
        yield f"On our own benign look-alikes: {NOT_RUN.lower()}"


def harmless(found: dict[str, Any]) -> Iterator[str]:
    """Harmless texts, by language."""

    def line(name: str, one: dict[str, Any]) -> tuple[str, ...]:
        shares = (interval(one["measures"].get(each)) for each in ("false_positives", "false_unsafe"))
        return (name, f"{one['rows']:,}", *shares)

    yield (
        "Sentences that nobody would take down, in languages that no training row is in: articles of human rights, what "
        "software says to its users, and what people say to an assistant at home (benchmarks/shipped_adapter/harmless.md)."
    )
    lines = [line(name, one) for name, one in sorted(found["by"]["language"].items())]
    yield _table(
        ("language", "rows", "found controversial or unsafe", "found unsafe"), [*lines, line("all", found)]
    )


def own_pairs(own: dict[str, Any]) -> Iterator[str]:
    """Our own dev rows, by source."""
    lines = [
        (name, f"{one['rows']:,}", *(interval(one["measures"].get(each)) for each in SHOWN))
        for name, one in sorted(own["by"]["source"].items())
    ]
    yield "Pairs that sound alike, of which one is harmless; responses and prompts of our own. All were kept from training."
    yield _table(("rows", "number", *SHOWN.values()), lines)


def explanations(found: dict[str, Any], own: dict[str, Any] | None) -> Iterator[str]:
    for said, one in (("dev rows", found["adapter"]), ("our own dev rows", own)):
        if one is None:
            yield f"Of {said}: {NOT_RUN.lower()}"
            continue
        parts = {**one["explanations"], **one["explanations"]["category"]}
        shares = {
            "of the agreed form": "well_formed",
            "a right category": "any_right",
            "a reason that says a category": "reason_says_category",
            "a reason that says one of the label's": "reason_says_right_category",
        }
        told = "; ".join(
            f"{name} {parts[key]['right']} of {parts[key]['rows']}" for name, key in shares.items()
        )
        yield f"Of {said}, {parts['asked']} explanations: {told}."
    yield "Whether a reason is true was not measured, and nothing is claimed of it."


def evasion(found: dict[str, Any]) -> Iterator[str]:
    without, folded = ({one["variant"]: one for one in found[key]}["all"] for key in ("without", "with"))
    lines = [
        (said, *(f"{one[key]['hits']} of {one[key]['of']}" for one in (without, folded)))
        for said, key in (
            ("another action than the original", "differ"),
            ("allowed though the original is not", "slipped"),
        )
    ]
    yield f"{found['copies']} disguised copies of {found['stream']}, judged with and without their folded form (docs/texts.md)."
    yield _table(("copies", "without", "with"), lines)


def region(found: dict[str, Any]) -> Iterator[str]:
    for said, key in (("dev texts, any region", "texts"), ("our own rows, mostly trained on", "pairs")):
        told = "; ".join(
            f"{one['condition']}: P(not safe) moves by {one['mean']:.4f} (at most {one['largest']:.4f}), {one['direction']}"
            for one in found[key]
        )
        yield f"{said.capitalize()}, against no region. {told}."
    yield "`none, again` is the engine's own rounding. No more is claimed of regions."


def agreement(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{found['texts']} texts from {found['texts_from']}, torch against the exported Q8_0 model: P(unsafe) differs by "
        f"{found['unsafe_mean']:.4f} on average, {found['unsafe_max']:.4f} at most; any label by {found['any_max']:.4f} at "
        f"most; the likeliest label of {found['flips']}. Looked for are {AGREEMENT_MEAN} on average and {AGREEMENT_MAX} at "
        f"most for P(unsafe) (docs/adapters.md): {'kept' if _agrees(found) else '**not kept**'}."
    )


def _agrees(found: dict[str, Any]) -> bool:
    return bool(found["unsafe_mean"] < AGREEMENT_MEAN and found["unsafe_max"] < AGREEMENT_MAX)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return ruled(head, lines, [False] * len(head))


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
