"""The pages as a browser without scripts has them: every task, every refusal, and hostile texts as nothing but text."""

from __future__ import annotations

import ast
import html
import html.parser
import inspect
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, update
from starlette.responses import Response

from sluicegate.pipeline.review import decisions as decided
from sluicegate.pipeline.review.tables import cases, decisions, events
from sluicegate.pipeline.review.web.rendering import LANGUAGES, messages
from sluicegate.pipeline.review.web.sessions import Sessions
from sluicegate.schemas import Post
from support.cases import HERON, MAGPIE, OWL, Bench, judged, post
from support.desk import browsing, desk_of, hidden
from support.hostile_posts import HOSTILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

pytestmark = pytest.mark.timeout(120)


@contextmanager
def desk_with(
    folder: Path, *texts: Post, demo: bool = True, **settings: Any
) -> Iterator[tuple[httpx.Client, Bench]]:
    """A desk without Kafka, with these posts to review, and a browser."""
    with desk_of(folder, *texts, **settings) as (desk, bench), browsing(desk, demo=demo) as browser:
        yield browser, bench


def enter(browser: httpx.Client, name: str = "heron") -> httpx.Response:
    return browser.post("/login", data={"name": name})


def take(browser: httpx.Client, name: str = "heron") -> httpx.Response:
    """Log in, and take the first case."""
    return browser.post("/next", data=hidden(enter(browser, name)))


class _Markup(html.parser.HTMLParser):
    """What a page is made of: its tags and attributes, and the text of the post on it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.text = ""
        self._inside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        if ("class", "post") in attrs:
            self._inside = 1

    def handle_endtag(self, tag: str) -> None:
        if tag == "pre":
            self._inside = 0

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.text += data


def read(page: httpx.Response) -> _Markup:
    found = _Markup()
    found.feed(page.text)
    found.close()
    return found


def test_a_reviewer_takes_decides_and_goes_on(tmp_path: Path) -> None:
    with desk_with(tmp_path, post("one"), post("two")) as (browser, bench):
        first = take(browser)
        assert first.status_code == 200
        answer = {**hidden(first), "action": "allow", "severity": "safe"}
        second = browser.post(f"{first.url.path}/answer", data=answer)
        assert second.url.path != first.url.path
        assert "Decided. Here is the next case." in second.text
        end = browser.post(
            f"{second.url.path}/answer", data={**hidden(second), "action": "block", "severity": "unsafe"}
        )
        assert "Nothing waits for you" in end.text
        assert sorted(one.action for one in bench.resolutions()) == ["allow", "block"]
        with bench.store.reading() as connection:
            seen = (
                connection.execute(select(events.c.actor).where(events.c.what == "case viewed"))
                .scalars()
                .all()
            )
        assert set(seen) == {"heron"}
        assert len(seen) == 2


def test_a_form_that_is_sent_twice_decides_once(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, bench):
        page = take(browser)
        answer = {**hidden(page), "action": "allow", "severity": "safe"}
        for _ in range(2):
            assert browser.post(f"{page.url.path}/answer", data=answer).status_code == 200
        assert len(bench.sent()) == 1


def test_who_lost_the_race_is_told_and_loses_nothing_typed(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, bench):
        page = take(browser)
        with bench.store.writing() as connection:
            bench.queue.release(connection, bench.all()[0].case_id, HERON)
        bench.answer(bench.all()[0].case_id, OWL)
        typed = {**hidden(page), "action": "block", "severity": "unsafe", "reason": "a long <b>reason</b>"}
        refused = browser.post(f"{page.url.path}/answer", data=typed)
        assert refused.status_code == 409
        assert "Somebody else has decided the case meanwhile." in refused.text
        assert "a long &lt;b&gt;reason&lt;/b&gt;" in refused.text


def test_a_blind_page_has_nothing_of_the_verdict(tmp_path: Path) -> None:
    text = post("one")
    with desk_with(tmp_path, blind_share=1) as (browser, bench):
        told: dict[str, Any] = {
            "reason": "the model's own words",
            "categories": ["Violent Extremism"],
            "disposition": "shadowban",
        }
        bench.take(
            text,
            judged(
                text,
                severity="unsafe",
                scores={"safe": 0.125, "controversial": 0.25, "unsafe": 0.625},
                **told,
            ),
        )
        queue = enter(browser).text
        page = take(browser)
        for secret in ("own words", "Violent Extremism", "shadowban", "0.625", "0.75", "<meter", "checked> "):
            assert secret not in page.text.replace('name="keys" checked', "").replace(
                'name="veil" checked', ""
            )
            assert secret not in queue.replace('name="keys" checked', "").replace('name="veil" checked', "")
        answer = {**hidden(page), "action": "block", "severity": "unsafe"}
        browser.post(f"{page.url.path}/answer", data=answer)
        with bench.store.reading() as connection:
            assert connection.execute(select(decisions.c.blind)).scalar_one()
        assert "verdict" not in bench.resolutions()[0].seen


@pytest.mark.parametrize("field", ["csrf", "version", "action", "severity", "category"])
def test_a_form_that_no_page_made_is_refused(tmp_path: Path, field: str) -> None:
    with desk_with(tmp_path, post()) as (browser, bench):
        page = take(browser)
        answer = {**hidden(page), "action": "allow", "severity": "unsafe"}
        refused = browser.post(f"{page.url.path}/answer", data={**answer, field: "forged"})
        assert refused.status_code in {403, 422}
        assert bench.sent() == []


def test_other_sites_strangers_and_other_reviewers_get_nothing(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, bench):
        case_id = bench.all()[0].case_id
        assert browser.get(f"/cases/{case_id}").url.path == "/login"
        assert browser.post("/next", data={"csrf": "x"}).status_code == 401
        page = take(browser)
        answer = {**hidden(page), "action": "allow", "severity": "safe"}
        foreign = {"origin": "https://evil.example"}
        assert browser.post(f"{page.url.path}/answer", data=answer, headers=foreign).status_code == 403
        assert browser.post("/login", data={"name": "root"}).status_code == 403
        assert browser.post(f"{page.url.path}/reopen", data=hidden(page)).status_code == 403
        assert browser.get("/cases/absent").status_code == 404
        assert browser.post("/next", data={"csrf": "x" * 70_000}).status_code == 403
        browser.post("/logout", data=hidden(page))
        assert browser.get("/queue").url.path == "/login"
        assert bench.sent() == []


def test_the_demo_answers_to_no_name_that_somebody_else_leads_here(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, _):
        for host in ("evil.example", "127.0.0.1.evil.example:80", ""):
            assert browser.get("/login", headers={"host": host}).status_code in {400, 403}
        here = f"localhost:{browser.base_url.port}"
        assert browser.get("/login", headers={"host": here}).status_code == 200


@pytest.mark.parametrize("demo", [True, False])
def test_a_host_that_is_no_address_is_told_so(tmp_path: Path, demo: bool) -> None:
    with desk_with(tmp_path, post(), demo=demo) as (browser, _):
        for host in ("[::1", "[", "]:80", "[::g]", "127.0.0.1]"):
            assert browser.get("/login", headers={"host": host}).status_code in {400, 403}
        assert browser.get("/login", headers={"host": "[::1"}).status_code == 400


def test_a_form_is_ours_by_its_origin_and_by_nothing_else(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, _):
        here = str(browser.base_url).rstrip("/")
        for origin in ("null", "https://evil.example", f"{here}.evil.example", "http://[::1", "http://", ""):
            told = browser.post("/login", data={"name": "heron"}, headers={"origin": origin})
            assert told.status_code == 403, origin
        assert browser.post("/login", data={"name": "heron"}, headers={"origin": here}).status_code == 200


def test_a_part_of_the_queue_is_kept_over_every_form(tmp_path: Path) -> None:
    texts = [post(f"p{number}", language=("de", "en")[number % 2]) for number in range(6)]
    with desk_with(tmp_path, *texts) as (browser, bench):
        queue = enter(browser)
        page = browser.post("/next?language=de", data=hidden(queue))
        for what in ("answer", "skip", "hold", "release"):
            place = f"{page.url.path}/{what}?language=de"
            assert html.escape(place) in page.text
            form = {**hidden(page), "action": "allow", "severity": "safe"}
            then = browser.post(place, data=form)
            assert then.url.params["language"] == "de", what
            page = then if then.url.path.startswith("/cases/") else page
        assert {one.language for one in bench.all("decided")} == {"de"}


@pytest.mark.parametrize(
    ("referer", "back"),
    [
        ("/figures", "/figures"),
        ("/queue?language=de", "/queue?language=de"),
        ("//evil.example/queue", "/queue"),
        ("https://evil.example/other", "/queue"),
        ("http://[::1", "/queue"),
        ("/cases/x/answer", "/queue"),
        ("", "/queue"),
    ],
)
def test_who_chooses_a_language_stays_on_the_page(tmp_path: Path, referer: str, back: str) -> None:
    with desk_with(tmp_path, post()) as (browser, _):
        queue = enter(browser, "owl")
        told = browser.post(
            "/preferences", data=hidden(queue), headers={"referer": referer}, follow_redirects=False
        )
        assert told.headers["location"] == back


def test_who_may_look_may_not_decide(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, bench):
        sessions, response = Sessions(bench.store, secure=False), Response()
        sessions.begin(response, "stork", "auditor")
        browser.headers["cookie"] = response.headers["set-cookie"].partition(";")[0]
        place = f"/cases/{bench.all()[0].case_id}"
        page = browser.get(place)
        assert page.status_code == 200
        answer = {**hidden(page), "action": "allow", "severity": "safe"}
        for what, form in (("answer", answer), ("skip", answer), ("hold", answer), ("reopen", answer)):
            assert browser.post(f"{place}/{what}", data=form).status_code == 403
        assert bench.sent() == []


def test_without_the_demo_nobody_logs_in_by_a_name(tmp_path: Path) -> None:
    with desk_with(tmp_path, demo=False) as (browser, _):
        assert "heron" not in browser.get("/login").text
        assert enter(browser).status_code == 403


def test_every_answer_forbids_scripts_frames_and_caches(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, _):
        for page in (
            browser.get("/login"),
            take(browser),
            browser.get("/cases/absent"),
            browser.get("/static/desk.css"),
        ):
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            assert page.headers["x-content-type-options"] == "nosniff"
            assert page.headers["referrer-policy"] == "same-origin"
            if "html" in page.headers["content-type"]:
                assert "<style" not in page.text
                assert all(
                    "style" not in names and not any(name.startswith("on") for name in names)
                    for _, names in read(page).tags
                )


def test_hostile_texts_are_nothing_but_text(tmp_path: Path) -> None:
    plain = post("plain", "Nothing but words")
    texts = [post(f"hostile {number}", text, author_id=f"a{number}") for number, text in enumerate(HOSTILE)]
    with desk_with(tmp_path, plain, text_s=366 * 86_400) as (browser, bench):
        page = take(browser)
        # A text with unseen characters has one line, one link and its letter more, and nothing else has.
        may_differ = {("a", ("href", "aria-keyshortcuts")), ("kbd", ("aria-hidden",))}
        shape = [tag for tag in read(page).tags if tag[0] != "p" and tag not in may_differ]
        for text in texts:
            bench.take(text, judged(text, reason=text.text[:400]))
        pages = {case.case_id: browser.get(f"/cases/{case.case_id}") for case in bench.all()}
        assert len(pages) >= 40
        seen = set()
        for one in pages.values():
            found = read(one)
            extra = [tag for tag in found.tags if tag[0] != "p" and tag not in may_differ]
            assert extra == shape
            seen.add(found.text)
        # HTML knows one kind of line end.
        wanted = {text.text.replace("\r\n", "\n") for text in [plain, *texts]}
        assert wanted <= {text.replace("\r\n", "\n") for text in seen}


def test_after_many_hard_texts_a_pause_comes(tmp_path: Path) -> None:
    with desk_with(tmp_path, post("one"), post("two"), exposure_cap=1) as (browser, bench):
        page = take(browser)
        answer = {**hidden(page), "action": "block", "severity": "unsafe"}
        told = browser.post(f"{page.url.path}/answer", data=answer)
        assert "Take a pause: the next case comes in 60 minutes." in told.text
        assert re.search(r"within the last hour: <strong>1</strong> \(a pause comes at 1\)", told.text)
        with bench.store.writing() as connection:
            connection.execute(update(decisions).values(decided_at=decisions.c.decided_at - 3601))
        assert browser.post("/next", data=hidden(told)).url.path.startswith("/cases/")


def test_what_waits_and_what_was_answered_is_told_to_prometheus(tmp_path: Path) -> None:
    with desk_with(tmp_path, post("one"), post("two")) as (browser, _):
        page = take(browser)
        told = browser.get("/metrics").text
        assert 'sluicegate_review_cases{state="open",tenant="default"} 2.0' in told
        assert "sluicegate_review_unsent_records 0.0" in told
        answer = {**hidden(page), "action": "allow", "severity": "safe"}
        browser.post(f"{page.url.path}/answer", data=answer)
        told = browser.get("/metrics").text
        assert 'sluicegate_review_answers_total{outcome="settled"} 1.0' in told
        assert "sluicegate_review_unsent_records 2.0" in told


def test_what_nobody_sees_is_spelt_out_on_demand(tmp_path: Path) -> None:
    with desk_with(tmp_path, post("a", "zero\u200bwidth and \u202eturned")) as (browser, _):
        page = take(browser)
        assert "Characters that cannot be seen: 2." in page.text
        assert "zero⟨U+200B⟩width and ⟨U+202E⟩turned" in browser.get(f"{page.url.path}?reveal=1").text


def test_a_case_whose_text_is_gone_says_so_and_can_be_decided(tmp_path: Path) -> None:
    with desk_with(tmp_path, post(author_id="user-17")) as (browser, bench):
        with bench.store.writing() as connection:
            bench.vault.erase(connection, "default", "user-17")
        page = take(browser)
        assert "The text is gone" in page.text
        browser.post(f"{page.url.path}/answer", data={**hidden(page), "action": "allow", "severity": "safe"})
        assert bench.resolutions()[0].seen == ("verdict", "history")


def test_the_history_is_of_the_same_author_and_of_nobody_where_there_is_none(tmp_path: Path) -> None:
    known = [post(f"known {number}", author_id="user-17") for number in range(2)]
    unknown = [post(f"unknown {number}") for number in range(2)]
    with desk_with(tmp_path, *known, *unknown) as (browser, bench):
        cases = {bench.verdict(case.case_id).post_id: case.case_id for case in bench.all()}
        for name in ("known 0", "unknown 0"):
            bench.answer(cases[name])
        enter(browser)
        assert "The author's history" in html.unescape(browser.get(f"/cases/{cases['known 1']}").text)
        assert "The author's history" not in html.unescape(browser.get(f"/cases/{cases['unknown 1']}").text)


def test_the_pages_speak_chinese_when_asked(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, _):
        queue = enter(browser)
        chosen = browser.post("/preferences", data={**hidden(queue), "language": "zh", "keys": "on"})
        assert 'lang="zh"' in chosen.text
        assert "下一个案件" in chosen.text


def test_every_refusal_of_an_answer_has_its_sentence_in_every_language() -> None:
    tree = ast.parse(inspect.getsource(decided))
    told = [node.args[1] for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) > 1]
    told += [node.value for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]
    sentences = {
        node.value
        for node in told
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".")
    }
    assert len(sentences) >= 8
    for language in LANGUAGES:
        assert sentences <= messages(language).keys()
    assert all(messages("zh")[one] != one for one in sentences)


def test_every_catalogue_says_the_same_things() -> None:
    english, *others = [messages(language) for language in LANGUAGES]
    for other in others:
        assert other.keys() == english.keys()
        for name, text in english.items():
            assert set(re.findall(r"{\w+}", text)) == set(re.findall(r"{\w+}", other[name])), name


def test_a_page_with_single_letters_off_says_so(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, _):
        queue = enter(browser)
        assert 'data-keys="on"' in queue.text
        assert 'data-keys="off"' in browser.post("/preferences", data=hidden(queue)).text


def test_a_sign_of_life_answers_a_script_and_a_page(tmp_path: Path) -> None:
    with desk_with(tmp_path, post()) as (browser, _):
        page = take(browser)
        as_json = browser.post(
            f"{page.url.path}/hold", data=hidden(page), headers={"accept": "application/json"}
        )
        assert 100 < as_json.json()["left_s"] <= 120
        assert browser.post(f"{page.url.path}/hold", data=hidden(page)).url.path == page.url.path


def test_the_lift_button_decides_what_it_names_or_nothing(tmp_path: Path) -> None:
    withheld: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    with desk_with(tmp_path, lift_sample=2) as (browser, bench):
        texts = [post(f"flood {number}") for number in range(4)]
        bench.take(*texts, *(judged(one, breaker=withheld) for one in texts))
        for case in bench.all()[:2]:
            bench.answer(case.case_id, action="block", disposition="takedown")
        page = enter(browser, "owl")
        form = dict(re.findall(r'name="(csrf|tenant|policy|action)" value="([^"]*)"', page.text))
        assert form["action"] == "block"
        stale = browser.post("/lift", data={**form, "action": "allow"})
        assert "Nothing was decided" in stale.text
        assert len(bench.all()) == 2
        assert browser.post("/lift", data={"csrf": form["csrf"], "tenant": "default"}).status_code == 422
        browser.post("/lift", data=form)
        assert bench.all() == []


@pytest.mark.parametrize(
    ("changes", "status"), [({"disposition": "made up " * 20}, 409), ({"reason": "a\0b"}, 422)]
)
def test_an_answer_that_the_page_does_not_offer_or_no_store_keeps_is_refused(
    tmp_path: Path, changes: dict[str, str], status: int
) -> None:
    with desk_with(tmp_path, post()) as (browser, bench):
        page = take(browser)
        form = {**hidden(page), "action": "block", "severity": "unsafe", **changes}
        assert browser.post(f"{page.url.path}/answer", data=form).status_code == status
        assert bench.resolutions() == []


def test_who_saw_the_verdict_on_the_page_of_a_refusal_is_not_blind_afterwards(tmp_path: Path) -> None:
    with desk_with(tmp_path, post(), blind_share=1) as (browser, bench):
        page = take(browser)
        (case,) = bench.all()
        with bench.store.writing() as connection:
            bench.queue.release(connection, case.case_id, HERON)
        bench.answer(case.case_id, MAGPIE)
        form = {**hidden(page), "action": "block", "severity": "unsafe"}
        refused = browser.post(f"{page.url.path}/answer", data=form)
        assert (refused.status_code, "<meter" in refused.text) == (409, True)
        with bench.store.writing() as connection:
            assert bench.decisions.reopen(connection, case.case_id, OWL)
        again = browser.post("/next", data=hidden(browser.get("/queue")))
        browser.post(
            f"{again.url.path}/answer", data={**hidden(again), "action": "allow", "severity": "safe"}
        )
        with bench.store.reading() as connection:
            found = connection.execute(select(decisions.c.blind).where(decisions.c.reviewer == "heron"))
            assert found.scalars().all() == [False]


def test_a_blind_reviewer_is_led_to_no_verdict_of_a_near_copy(tmp_path: Path) -> None:
    withheld: Any = {"action": "block", "disposition": "takedown", "open_since": "2026-03-01T08:00:00Z"}
    words = "The same words from several people"
    with desk_with(tmp_path, post("first", words), blind_share=1) as (browser, bench):
        (first,) = bench.all()
        bench.answer(first.case_id, MAGPIE, "block")
        bench.take(post("second", words), judged(post("second", words), breaker=withheld))
        (second,) = bench.all()
        queue = enter(browser)
        assert "breaker" not in queue.text.partition("<tbody>")[2].lower()
        page = browser.get(f"/cases/{second.case_id}")
        assert first.case_id not in page.text
        assert "<meter" in browser.get(f"/cases/{first.case_id}").text
        form = {**hidden(page), "action": "block", "severity": "unsafe"}
        browser.post(f"{page.url.path}/answer", data=form)
        with bench.store.reading() as connection:
            found = connection.execute(select(decisions.c.blind).where(decisions.c.reviewer == "heron"))
            assert found.scalars().all() == [False], "the copy's verdict was shown"


def test_a_golden_case_looks_like_any_other(tmp_path: Path) -> None:
    with desk_with(tmp_path, post("one"), golden_share=1) as (browser, bench):
        (case,) = bench.all()
        bench.answer(case.case_id, MAGPIE)
        with bench.store.writing() as connection:
            assert bench.decisions.make_golden(connection, case.case_id, OWL)
            # It was decided long ago.
            long_ago = {"due_at": case.due_at - 1e7, "opened_at": case.due_at - 1e7 - 3600}
            connection.execute(update(cases).values(long_ago))
        page = take(browser)
        assert page.url.path.endswith(case.case_id)
        assert 'id="lease"' in page.text
        assert messages("en")["due"].partition("{")[0] in page.text
