"""Census: how the written rows are spread, and what in that will mislead a model. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from sluicegate.engines.adapt.data.row_files import licence_name
from sluicegate.engines.adapt.data.rows import Row, Split

if TYPE_CHECKING:
    from collections.abc import Iterable


SEVERITIES: Final = ("safe", "controversial", "unsafe")
DIMENSIONS: Final = ("language", "category", "kind", "source", "licence", "label_basis", "tenant", "region")
NOT_GIVEN: Final = "(not given)"
NO_CATEGORY_GIVEN: Final = "(harmful, without a category)"

FEW_ROWS: Final = 5_000
"""Below this many rows an adapter learns the examples rather than the rules."""
_FEW_OF_A_CATEGORY = 200
_FEW_TO_JUDGE = 20  # rows before one-sidedness means anything
_LISTED = 12  # names in one warning


class Distribution:
    """Counts rows by split, severity and the dimensions."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, Split]] = Counter()
        self.by_split: Counter[Split] = Counter()
        self.too_long = 0
        """Rows that the engine does not take at once."""
        self.longest = 0
        """Characters of the longest text."""
        self.with_reason = 0
        self._category_sources: dict[str, set[str]] = defaultdict(set)
        self._without_refusal = 0

    def add(self, row: Row, split: Split) -> None:
        """Count a row that is written."""
        self.by_split[split] += 1
        self.longest = max(self.longest, len(row.text))
        self.with_reason += row.reason is not None
        self._without_refusal += row.kind == "response" and row.refusal is None
        harmful = row.severity != "safe"
        values: dict[str, Iterable[str | None]] = {
            "language": (row.language,),
            "category": row.categories or ((NO_CATEGORY_GIVEN,) if harmful else ()),
            "kind": (row.kind,),
            "source": (row.source,),
            "licence": (row.licence and licence_name(row.licence),),
            "label_basis": (row.label_basis,),
            "tenant": (row.tenant,),
            "region": (row.region,),
        }
        for dimension, named in values.items():
            for value in named:
                self._counts[dimension, value or NOT_GIVEN, row.severity, split] += 1
        for category in row.categories:
            self._category_sources[category].add(row.source)

    def table(self, dimension: str) -> dict[str, dict[str, int]]:
        """By value, the most rows first: rows, train, dev and the three severities."""
        table: dict[str, dict[str, int]] = {}
        for (name, value, severity, split), count in self._counts.items():
            if name == dimension:
                line = table.setdefault(value, dict.fromkeys(("rows", "train", "dev", *SEVERITIES), 0))
                for column in ("rows", split, severity):
                    line[column] += count
        return dict(sorted(table.items(), key=lambda item: (-item[1]["rows"], item[0])))

    def severities(self) -> dict[str, dict[str, int]]:
        """Rows by split and severity."""
        found = {split: dict.fromkeys(SEVERITIES, 0) for split in ("train", "dev")}
        for (name, _, severity, split), count in self._counts.items():
            if name == "kind":  # every row has exactly one
                found[split][severity] += count
        return found

    def warnings(self) -> list[str]:
        """Sentences on what is missing or one-sided."""
        total = self.by_split.total()
        found = []
        if total < FEW_ROWS:
            found.append(
                f"{total:,} rows: below {FEW_ROWS:,} an adapter learns the examples rather than the rules; add more"
            )
        if not self.by_split["dev"]:
            found.append("dev is empty: nothing can be evaluated; give more rows, or a larger --dev-share")
        return [*found, *self._languages(), *self._categories(), *self._sources(), *self._rows()]

    def _languages(self) -> list[str]:
        table = self.table("language")
        found = _one_sided(
            "languages",
            table,
            "the language alone predicts the label; add rows of the other severities, or leave them out",
        )
        blind = [name for name, line in table.items() if not line["dev"] and self.by_split["dev"]]
        if blind:
            found.append(f"languages without a row in dev ({_names(blind)}): they cannot be evaluated")
        return found

    def _categories(self) -> list[str]:
        table = {name: line for name, line in self.table("category").items() if name != NO_CATEGORY_GIVEN}
        few = [f"{name} {line['rows']}" for name, line in table.items() if line["rows"] < _FEW_OF_A_CATEGORY]
        found = []
        if few:
            found.append(
                f"categories with fewer than {_FEW_OF_A_CATEGORY} rows, too few to learn: {_names(few)}"
            )
        lonely = [name for name in table if len(self._category_sources[name]) == 1]
        if lonely and len(self.table("source")) > 1:
            found.append(
                f"categories from one source only ({_names(lonely)}): its style predicts them; add another source"
            )
        return found + _one_sided(
            "categories",
            table,
            "the category alone predicts the severity; add rows of the other",
            harmful=True,
        )

    def _sources(self) -> list[str]:
        table = self.table("source")
        if len(table) == 1:
            return []
        return _one_sided(
            "sources", table, "their style predicts the label; compare per source when evaluating"
        )

    def _rows(self) -> list[str]:
        no_category = self.table("category").get(NO_CATEGORY_GIVEN, {}).get("rows", 0)
        no_licence = self.table("licence").get(NOT_GIVEN, {}).get("rows", 0)
        told = (
            (no_category, "harmful rows have no category: they teach that harm may have none"),
            (self._without_refusal, "responses do not say whether they refuse: give refusal, true or false"),
            (
                no_licence,
                "rows have no licence: name it in the rows or in manifest.json before anything ships",
            ),
            (
                self.too_long,
                "rows are longer than the engine takes: it would judge them in segments; shorten them",
            ),
        )
        return [f"{count:,} {what}" for count, what in told if count]


def _one_sided(
    what: str, table: dict[str, dict[str, int]], follows: str, *, harmful: bool = False
) -> list[str]:
    """Values of which every row has the same severity."""
    columns = SEVERITIES[1:] if harmful else SEVERITIES
    by_severity: dict[str, list[str]] = defaultdict(list)
    for name, line in table.items():
        if line["rows"] >= _FEW_TO_JUDGE:
            for severity in columns:
                if line[severity] == line["rows"]:
                    by_severity[severity].append(name)
    return [
        f"{what} with {severity} rows only ({_names(names)}): {follows}"
        for severity, names in by_severity.items()
    ]


def _names(names: list[str]) -> str:
    beyond = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + beyond
