"""The renders that were accepted: some files of ci/ as Helm makes them, for reviewers to read.

``PYTHONPATH=tests .venv/bin/python -m chart.golden`` writes them anew. Left out is what stands as a file of its own,
and has tests of its own: scripts, alerts, the dashboard.
"""

from __future__ import annotations

from chart.rendering import CHART, NEWEST, ROOT, template

FOLDER = ROOT / "tests" / "golden" / "chart"
READ = ("cpu", "cycle", "external", "gpu", "review", "sglang", "trtllm-serve", "vllm")
"""Those that a reviewer reads: what the others have besides is said by tests of its own, and would be read twice here."""
_ELSEWHERE = {"configmap-scripts.yaml", "prometheusrule.yaml", "dashboard.yaml"}
_HEAD = "# helm template guard helm/sluicegate --namespace moderation --kube-version {} --values ci/{}-values.yaml\n"


def accepted(name: str) -> str:
    """The render that was accepted."""
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def made(name: str) -> str:
    """The render as it is now."""
    done = template("-f", str(CHART / "ci" / f"{name}-values.yaml"))
    assert done.returncode == 0, done.stderr
    objects = [
        one
        for one in done.stdout.split("---\n# Source: sluicegate/templates/")[1:]
        if one.partition("\n")[0] not in _ELSEWHERE
    ]
    return _HEAD.format(NEWEST, name) + "".join(f"---\n# {one}" for one in objects)


def main() -> None:
    """Accept every render as it is, and forget those of files that are gone."""
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.yaml"):
        path.unlink()
    for name in READ:
        (FOLDER / f"{name}.yaml").write_text(made(name), encoding="utf-8")


if __name__ == "__main__":
    main()
