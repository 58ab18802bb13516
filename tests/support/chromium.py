"""Debian's Chromium, driven by Playwright. Playwright's own browsers are never fetched."""

from __future__ import annotations

import importlib.util
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

_PROGRAMS = ("chromium", "chromium-browser")
_PATIENCE_MS = 10_000
_TABS_MOST = 150


def program() -> str | None:
    """Where Chromium is; None if it is not on PATH."""
    return next(filter(None, map(shutil.which, _PROGRAMS)), None)


def absence() -> str | None:
    """Why no browser can be driven here; None if one can."""
    if program() is None:
        return "no `chromium` on PATH (Debian package chromium)"
    packages = ("playwright", "axe_playwright_python")
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        return f"{', '.join(missing)} not installed; `make review-test` installs them"
    return None


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that ends with the block."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - an extra that most tests do without

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program())
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody at a keyboard. What a page asks of other hosts, says in a dialog or complains of is written down.

    Args:
        browser: Theirs.
        address: Of the desk.
        context: As Playwright takes it: size, colours, scripts on or off.
    """

    def __init__(self, browser: Any, address: str, **context: Any) -> None:
        self.address = address
        self.scripts = context.get("java_script_enabled", True)
        self.context = browser.new_context(base_url=address, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(_PATIENCE_MS)
        self.strange: list[str] = []
        """What no page of ours may cause."""
        self.page.on("dialog", self._dialog)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.strange.append(f"error: {error}"))
        self.page.on("request", self._request)
        self.page.on("requestfailed", self._failed)
        self.context.on("page", lambda page: self.strange.append(f"opened {page.url}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, _error: object, _trace: object) -> None:
        self.context.close()
        if kind is None:
            assert self.strange == []

    def open(self, path: str) -> None:
        """Type an address."""
        self.page.goto(path)
        self.settled()

    def settled(self) -> None:
        """Wait until the page listens to keys."""
        self.page.wait_for_load_state("load")
        if self.scripts:
            self.page.wait_for_selector("body[data-ready=on]", state="attached")

    def press(self, key: str) -> None:
        """Press a key, and stay on the page."""
        self.page.keyboard.press(key)

    def go(self, key: str) -> None:
        """Press a key that leads to another page, and wait for that."""
        with self.page.expect_navigation():
            self.page.keyboard.press(key)
        self.settled()

    def tab_to(self, name: str) -> None:
        """Press Tab until the control with this name has the focus."""
        for _ in range(_TABS_MOST):
            if name in self.focused():
                return
            self.press("Tab")
        raise AssertionError(f"Tab does not reach {name!r}")

    def focused(self) -> str:
        """The name of the control that has the focus; nothing where none has."""
        found = self.page.evaluate(
            """() => {
                const one = document.activeElement;
                if (!one || one === document.body) return "";
                const labels = [...(one.labels || [])].map((label) => label.textContent).join(" ");
                return one.getAttribute("aria-label") || labels || one.textContent || one.name || "";
            }"""
        )
        return " ".join(str(found).split())

    def text(self, where: str = "main") -> str:
        """What is read there."""
        return str(self.page.inner_text(where))

    def log_in(self, name: str) -> None:
        """Choose a name of the demo."""
        self.open("/login")
        self.tab_to(name)
        self.go("Enter")

    def _dialog(self, dialog: Any) -> None:
        self.strange.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.strange.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith(self.address):
            self.strange.append(f"request: {request.url}")

    def _failed(self, request: Any) -> None:
        # A page that is left aborts what it still asks for.
        if "ERR_ABORTED" not in str(request.failure):
            self.strange.append(f"failed: {request.url} {request.failure}")


def violations(person: Person) -> list[str]:
    """What axe-core finds on a page, with the places: by the rules of WCAG 2.2 AA, and good practice."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - an extra that most tests do without

    found = Axe().run(person.page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]
    ]


def too_wide(person: Person) -> list[str]:
    """What reaches past the edge of the page, so that one would have to scroll to both sides."""
    found: list[str] = person.page.evaluate(
        """() => {
            const root = document.scrollingElement;
            if (root.scrollWidth <= root.clientWidth) return [];
            return [`${root.scrollWidth} > ${root.clientWidth}`, ...[...document.querySelectorAll("body *")]
                .filter((one) => one.getBoundingClientRect().right > root.clientWidth + 1
                    || one.getBoundingClientRect().left < -1)
                .map((one) => `${one.tagName} ${one.className}`)];
        }"""
    )
    return found
