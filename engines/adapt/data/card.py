"""Data card: what the written data are made of, as JSON and as a page. No text of any row is in it."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sluicegate.engines.adapt.data.decisions import RowDecision
from sluicegate.engines.adapt.data.distribution import DIMENSIONS, NOT_GIVEN, SEVERITIES
from sluicegate.engines.adapt.data.prepare import Lengths, Preparation
from sluicegate.engines.adapt.data.row_files import WrittenFile
from sluicegate.engines.adapt.report import ruled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


_LIBRARIES = ("sluicegate", "orjson", "phonenumbers", "pydantic", "rensa")
_SHOWN_FAULTS = 20
_SHOWN_FIELDS = 20
_MANY_FAULTY = 0.1
_BIG_CLUSTER = 0.05
_MEANINGS = {
    RowDecision.TRAIN: "written to train.jsonl",
    RowDecision.DEV: "written to dev.jsonl",
    RowDecision.SUPERSEDED: "left out: a reviewer's correction stands in its place",
    RowDecision.CONFLICT: "left out: the same text has another severity",
    RowDecision.NEAR_CONFLICT: "left out: nearly the same text has another severity",
    RowDecision.DUPLICATE: "left out: an equal row is kept",
    RowDecision.EXACT_LEAK: "left out of train: the text is in dev",
    RowDecision.NEAR_LEAK: "left out of train: nearly the same text is in dev",
    RowDecision.GROUP_LEAK: "left out of train: its group is in dev",
}


def document(
    preparation: Preparation,
    written: Mapping[str, WrittenFile],
    command: Sequence[str],
    lengths: Lengths | None = None,
) -> dict[str, Any]:
    """The card as a document.

    Args:
        preparation: A run that has written.
        written: What :meth:`Preparation.write` returned.
        command: What was typed.
        lengths: What rows were compared with, if they were.
    """
    decisions, distribution = preparation.decisions, preparation.distribution
    counts = decisions.counts()
    return {
        "card": "sluicegate-data-card/1",
        "command": list(command),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        "inputs": [
            {
                "file": str(file.path),
                "sha256": file.sha256,
                "bytes": file.bytes,
                "rows": file.rows,
                "faulty_rows": file.faulty_rows,
                "rows_under_other_licences": file.other_licence,
            }
            for file in preparation.inputs
        ],
        "outputs": [
            {"file": name, "sha256": out.sha256, "bytes": out.bytes, "rows": out.rows}
            for name, out in written.items()
        ],
        "fates": {decision.value: counts[decision] for decision in RowDecision},
        "severities": distribution.severities(),
        "near_duplicates": {
            "similarity": preparation.request.similarity,
            "clusters": decisions.near_clusters,
            "rows": decisions.near_rows,
            "rows_of_the_largest_cluster": decisions.largest_cluster,
        },
        "conflicts": {
            "same_text": len(decisions.conflicts),
            "same_text_settled_by": preparation.request.choices.conflicts.value,
            "near_duplicates": len(decisions.near_conflicts),
            "near_duplicates_settled_by": preparation.request.choices.near_conflicts.value,
        },
        "splits": {
            "dev_share": preparation.request.choices.dev_share,
            "seed": preparation.request.choices.seed,
            "given_splits": "forgotten" if preparation.request.choices.resplit else "respected",
        },
        "personal_data": {
            "masked": preparation.request.mask_pii,
            "rows": preparation.rows_with_pii,
            "places": dict(sorted(preparation.personal_data.items())),
        },
        "rows_left_out_by_licence": dict(sorted(preparation.other_licences.items())),
        "longest_text_characters": distribution.longest,
        "compared_with_engine": lengths
        and {"bundle": lengths.digest, "max_prompt_tokens": lengths.max_prompt_tokens},
        "rows_with_reason": distribution.with_reason,
        "balance": {dimension: distribution.table(dimension) for dimension in DIMENSIONS},
        "sources": [
            {"source": name, "licence": source.licence, **source.told}
            for name, source in sorted(preparation.sources.items())
        ],
        "faults": {
            "count": preparation.fault_count,
            "first": [one.sentence for one in preparation.faults[:_SHOWN_FAULTS]],
        },
        "warnings": [*_warnings(preparation), *distribution.warnings()],
    }


def _warnings(preparation: Preparation) -> list[str]:
    kept = preparation.distribution.by_split.total()
    faulty = sum(file.faulty_rows for file in preparation.inputs)
    found = []
    if faulty:
        what = f"{faulty:,} rows are faulty and were left out: correct them"
        many = faulty > _MANY_FAULTY * (faulty + len(preparation.places))
        found.append(
            f"{what}; more than a tenth, so a field may be named or filled differently" if many else what
        )
    found += [
        f"{file.path.name} is not what its manifest promises: its digest differs"
        for file in preparation.inputs
        if not file.is_as_promised
    ]
    found += [
        f"source {name}: its licence is not certain: {source.licence}"
        for name, source in sorted(preparation.sources.items())
        if source.licence and "(" in source.licence
    ]
    if preparation.unused_fields:
        names = ", ".join(name for name, _ in preparation.unused_fields.most_common(_SHOWN_FIELDS))
        found.append(f"fields that mean nothing here and were left out: {names}")
    if preparation.rows_with_pii and not preparation.request.mask_pii:
        found.append(
            f"{preparation.rows_with_pii:,} rows hold what looks like personal data: --mask-pii masks it"
        )
    largest = preparation.decisions.largest_cluster
    if largest > max(10, _BIG_CLUSTER * kept):
        found.append(
            f"{largest:,} rows stay together as one cluster of near duplicates or groups: splits may be uneven"
        )
    return found


def page(card: Mapping[str, Any]) -> str:
    """The card as Markdown, from its document alone."""
    balance = card["balance"]
    engine = card["compared_with_engine"] or {"rows were compared with an engine": "no"}
    severities = {split: {"rows": sum(line.values()), **line} for split, line in card["severities"].items()}
    parts = [
        "# Data card",
        "Made by `sluicegate adapt prepare`. No text of a row is on this page.",
        f"```\n{' '.join(map(_cell, card['command']))}\n```",
        "## Warnings",
        "\n".join(f"- {_cell(one)}" for one in card["warnings"]) or "None.",
        "## What became of the rows",
        _table(
            ("fate", "rows", "meaning"),
            ((decision, card["fates"][decision], said) for decision, said in _MEANINGS.items()),
        ),
        "## Balance",
        _balance("split", severities, ("rows", *SEVERITIES)),
        *(
            _balance(dimension, balance[dimension], ("rows", "train", "dev", *SEVERITIES))
            for dimension in DIMENSIONS
            if balance[dimension].keys() - {NOT_GIVEN}
        ),
        "## Lengths",
        _items({"longest text, characters": card["longest_text_characters"], **engine}),
        "## Near duplicates and conflicts",
        _items({**card["near_duplicates"], **{f"conflicts: {k}": v for k, v in card["conflicts"].items()}}),
        "## Personal data",
        _items({"masked": card["personal_data"]["masked"], "rows": card["personal_data"]["rows"]}),
        _items(card["personal_data"]["places"]),
        "## Sources and licences",
        _table(
            ("source", "licence", "title", "from", "cite"),
            (
                (
                    one["source"],
                    one["licence"] or "",
                    one.get("title", ""),
                    " ".join(one[name] for name in ("repo", "url", "commit") if name in one),
                    one.get("cite", ""),
                )
                for one in card["sources"]
            ),
        ),
        "Left out by licence:" if card["rows_left_out_by_licence"] else "",
        _items(card["rows_left_out_by_licence"]),
        "## Files",
        _table(
            ("file", "rows", "bytes", "sha256"),
            (
                (one["file"], one["rows"], one["bytes"], one["sha256"])
                for one in (*card["inputs"], *card["outputs"])
            ),
        ),
        "## Made with",
        _items({**card["versions"], **{f"splits: {k}": v for k, v in card["splits"].items()}}),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _balance(name: str, table: Mapping[str, Mapping[str, int]], columns: Sequence[str]) -> str:
    return _table(
        (name, *columns), ((value, *(line[column] for column in columns)) for value, line in table.items())
    )


def _items(values: Mapping[str, Any]) -> str:
    return "\n".join(f"- {_cell(name.replace('_', ' '))}: {_cell(value)}" for name, value in values.items())


def _table(head: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    rows = [list(map(_cell, line)) for line in lines]
    numbers = [
        bool(rows) and all(isinstance(x, str) and x.replace(",", "").isdigit() for x in column)
        for column in zip(*rows, strict=True)
    ]
    return ruled(head, rows, numbers or [False] * len(head))


def _cell(value: object) -> str:
    """A value that cannot leave its cell: names come from files."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    kept = "".join(one if one.isprintable() else " " for one in text)
    return kept.replace("\\", "\\\\").replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
