"""The documentation site, from the files that a code host shows: `make docs` builds it, and a dead link fails.

Sphinx reads the repository from its root. So a link is right in both places, and a linked file comes along.
"""

project = "Sluicegate"
extensions = ["myst_parser"]
myst_heading_anchors = 4
root_doc = "README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/*/*.md",
    "helm/sluicegate/README.md",
    "benchmarks/*/*.md",
    "examples/adapt/README.md",
]
exclude_patterns = [".*", "build", "tests"]
suppress_warnings = ["toc.not_included"]  # reports and samples are reached by links
html_theme = "furo"  # it loads nothing from other hosts
html_title = "Sluicegate"
html_show_sphinx = False

CONTENTS = {
    "Start here": ["architecture"],
    "Use it": ["quickstart", "contract", "client", "policy"],
    "Operate it": ["kubernetes", "operations", "connections", "settings", "bench", "sizing"],
    "Review": ["reviewing", "review"],
    "Share": ["patterns", "patterns-privacy"],
    "Engines": ["engine", "shortcuts", "texts"],
    "Adapt the model": ["adapt", "evaluate", "adapters", "cycle", "candidates", "model-card", "model-card-qwen2.5-0.5b"],
    "Why": ["guarantee"],
}
"""Captions of the side bar, and their pages in docs/."""


def _add_contents(app, page, source):
    """Give the first page the side bar: its Markdown must not show one on a code host."""
    if page != root_doc:
        return
    trees = [(caption, [f"docs/{name}" for name in names]) for caption, names in CONTENTS.items()]
    trees += [
        ("Decisions", ["docs/adr/*"]),
        ("Runbooks", ["docs/runbooks/*"]),
        ("Project", ["CONTRIBUTING", "CHANGELOG", "helm/sluicegate/README"]),
    ]
    for caption, names in trees:
        head = [":hidden:", f":caption: {caption}", *([":glob:"] if "*" in names[0] else [])]
        source[0] += "\n".join(["", "```{toctree}", *head, *names, "```", ""])


def setup(app):
    app.connect("source-read", _add_contents)
