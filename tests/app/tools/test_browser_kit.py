"""The kit "browser": whose URL opens without a question, what rules can allow, and what keeps it from being used."""

from pathlib import Path
from typing import Any

import pytest

from app.documents.attachments import Attachment, join
from app.settings import load
from app.tools import browser_kit
from app.tools.browser_kit import BrowserKit
from app.tools.kits import kits_of
from app.tools.permission import Decision, Rule, Wish, decide
from app.tools.switched_on import SwitchedOn
from app.tools.verdict import Keep, Verdict
from mlx_model.extras import install_line
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message, Role, user
from mlx_model.tools.browser import Browser, Fetcher
from mlx_model.tools.browser.errors import BrowserError
from mlx_model.tools.browser.fetch import MayOpen, Response

PAGE = '<p>See <a href="https://docs.example.org/guide">the guide</a> or <a href="/moved">what moved</a>.</p>'
REDIRECTS = {
    "https://a.example.org/moved": "https://far.example.net/",
    "https://far.example.net/": "https://farther.example.net/",
    "https://made.example.com/up": "https://www.example.com/up",
    "https://made.example.com/away": "https://thief.example.net/?secret",
}


class Web(Fetcher):
    """Every URL is a page; those in REDIRECTS send on to another."""

    async def fetch(self, url: str, may_open: MayOpen | None = None) -> Response:
        sender = ""
        while True:
            assert may_open is not None
            if (refusal := await may_open(url, sender)) is not None:
                raise BrowserError(refusal)
            if url not in REDIRECTS:
                return Response(url, "text/html", PAGE.encode())
            url, sender = REDIRECTS[url], url


class Person:
    """Answers, and remembers what was asked."""

    def __init__(self, *answers: Verdict) -> None:
        self.answers = list(answers)
        self.asked: list[Wish] = []

    async def __call__(self, call: ToolCall, wish: Wish) -> Verdict:
        self.asked.append(wish)
        return self.answers.pop(0)


YES, NO = Verdict(True), Verdict(False)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_kit, "Browser", lambda search, **named: Browser(search, fetcher=Web(), **named))


def opening(**arguments: Any) -> ToolCall:
    return ToolCall("browser.open", str(arguments), "analysis", arguments)


async def ready(kit: BrowserKit, *messages: Message) -> BrowserKit:
    await kit.prepare()
    kit.follow(messages)
    return kit


async def run(tools: SwitchedOn, **arguments: Any) -> str:
    """What the model gets for a call of browser.open."""
    call = opening(**arguments)
    approval = await tools.approve(call)
    if approval.refusal is not None:
        return approval.refusal
    tool = tools.toolbox.tool(call)
    assert tool is not None
    return (await tool.run(call, lambda text: None)).text


async def switched_on(
    folder: Path, person: Person, *messages: Message, rules: dict[str, str] | None = None
) -> SwitchedOn:
    tools = SwitchedOn([BrowserKit(folder)], rules or {}, person)
    await tools.prepare(messages)
    return tools


async def test_a_search_is_asked_about_once(tmp_path: Path) -> None:
    kit = await ready(BrowserKit(tmp_path))
    wish = await kit.wish(ToolCall("browser.search", "{}", arguments={"q": "my words"}))
    assert wish.subjects == ("browser.search wikipedia", "browser.search", "browser")
    assert (wish.default, wish.why, wish.shown) == (Decision.ASK, "the words go to en.wikipedia.org", "my words")
    assert decide([Rule("browser.search wikipedia", Decision.ALLOW)], wish)[0] is Decision.ALLOW
    assert kit.instructions == "browser.search finds articles of Wikipedia only."
    assert kit.state == "searches wikipedia, asks before that and before a URL of the model's own"
    other = await ready(BrowserKit(tmp_path, {"url": "http://localhost:8888"}))
    assert other.instructions == ""
    wish = await other.wish(ToolCall("browser.search", "{}", arguments={"query": "x"}))
    assert wish.subjects[0] == "browser.search searxng" and wish.why == "the words go to localhost:8888"
    assert wish.shown == "x"


@pytest.mark.parametrize(
    ("prompt", "url"),
    [
        ("Read https://a.example.org/x?y=1, please.", "https://a.example.org/x?y=1"),
        ("Read (https://a.example.org/x).", "https://a.example.org/x#part"),
        ("What is on example.org?", "https://example.org/"),
        ("Look at docs.example.org/a/b.", "http://docs.example.org/a/b"),
    ],
)
async def test_what_the_person_wrote_opens_without_a_question(tmp_path: Path, prompt: str, url: str) -> None:
    kit = await ready(BrowserKit(tmp_path), user(prompt))
    assert (await kit.wish(opening(id=url))).default is Decision.ALLOW


@pytest.mark.parametrize(
    ("prompt", "url"),
    [
        ("Read https://a.example.org/x", "https://a.example.org/x?secret=1"),
        ("Read https://a.example.org/x", "https://a.example.org/y"),
        ("Write to me@example.org", "https://example.org"),
        ("What is on example.org?", "https://evil-example.org"),
        (join("Look", [Attachment("a.txt", "See https://b.example.org/")]), "https://b.example.org/"),
    ],
)
async def test_what_nobody_wrote_is_asked(tmp_path: Path, prompt: str, url: str) -> None:
    answer = Message(Role.ASSISTANT, url, channel="final")  # the model's own words are not the person's
    kit = await ready(BrowserKit(tmp_path), user(prompt), answer)
    wish = await kit.wish(opening(id=url))
    assert (wish.default, wish.why, wish.shown) == (Decision.ASK, "not from a page or from you", url)


async def test_links_of_pages_open_without_a_question(tmp_path: Path) -> None:
    person = Person()
    tools = await switched_on(tmp_path, person, user("Read https://a.example.org/"))
    assert "【0†the guide†docs.example.org】" in await run(tools, id="https://a.example.org/")
    assert "[1] " in await run(tools, id=0)
    assert "[2] " in await run(tools, id="https://docs.example.org/guide")  # it stood on a page
    assert "[3] " in await run(tools, cursor=0, loc=1)
    assert (await tools.approve(ToolCall("browser.find", "", arguments={"pattern": "x"}))).refusal is None
    assert not person.asked


async def test_rules_cover_a_site_and_no_other(tmp_path: Path) -> None:
    kit = await ready(BrowserKit(tmp_path), user("https://docs.example.co.uk/x and evil-example.co.uk and 10.0.0.1"))
    wish = await kit.wish(opening(id="https://docs.example.co.uk:8443/x"))
    hosts = ("browser.open docs.example.co.uk", "browser.open example.co.uk")
    assert wish.subjects == (*hosts, "browser.open", "browser")
    wish = await kit.wish(opening(id="https://docs.example.co.uk/x"))
    assert decide([Rule("browser.open example.co.uk", Decision.DENY)], wish)[0] is Decision.DENY
    wish = await kit.wish(opening(id="https://evil-example.co.uk"))
    assert decide([Rule("browser.open example.co.uk", Decision.DENY)], wish)[0] is Decision.ALLOW
    for url, subject in (("https://someone.github.io/", "someone.github.io"), ("http://10.0.0.1/", "10.0.0.1")):
        assert (await kit.wish(opening(id=url))).subjects == (f"browser.open {subject}", "browser.open", "browser")


@pytest.mark.parametrize(
    ("rule", "decision"),
    [
        ("browser.open www.example.org", Decision.ALLOW),
        ("browser.open example.org", Decision.ASK),
        ("browser.open", Decision.ASK),
        ("browser.*", Decision.ASK),
        ("*", Decision.ASK),
    ],
)
async def test_a_made_up_url_is_allowed_by_its_own_host_alone(tmp_path: Path, rule: str, decision: Decision) -> None:
    kit = await ready(BrowserKit(tmp_path))
    wish = await kit.wish(opening(id="https://www.example.org/?q=secret"))
    assert decide([Rule(rule, Decision.ALLOW)], wish)[0] is decision
    assert decide([Rule(rule, Decision.DENY), Rule(wish.subjects[0], Decision.ALLOW)], wish)[0] is Decision.DENY


async def test_with_files_and_a_page_no_rule_allows_a_made_up_url(tmp_path: Path) -> None:
    prompt = user(join("Sum up, then read https://a.example.org/", [Attachment("a.txt", "private")]))
    person, rules = Person(YES, NO), {"browser.open www.example.org": "allow"}
    tools = await switched_on(tmp_path, person, prompt, rules=rules)
    assert "[0] " in await run(tools, id="https://www.example.org/1")  # nothing was read before
    assert not person.asked
    assert "[1] " in await run(tools, id="https://www.example.org/2")
    assert "declined" in await run(tools, id="https://www.example.org/3")
    assert [wish.always for wish in person.asked] == [False, False]
    assert "[2] " in await run(tools, id="https://a.example.org/")  # the person's own


async def test_where_redirects_lead_is_judged_again(tmp_path: Path) -> None:
    person = Person(YES, YES, NO)
    tools = await switched_on(tmp_path, person, user("Read https://a.example.org/"))
    await run(tools, id="https://a.example.org/")
    assert "(https://farther.example.net/)" in await run(tools, id=1)  # who has set the link decides where it leads
    assert not person.asked
    assert "(https://www.example.com/up)" in await run(tools, id="https://made.example.com/up")  # within its site
    assert [wish.shown for wish in person.asked] == ["https://made.example.com/up"]
    stopped = await run(tools, id="https://made.example.com/away")
    assert stopped == "Error fetching URL `https://made.example.com/away`: The user declined this call."
    assert person.asked[2].why == "made.example.com sends the browser to another site"
    assert person.asked[2].shown == "https://thief.example.net/?secret"


async def test_a_rule_against_a_site_holds_behind_a_redirect(tmp_path: Path) -> None:
    rules = {"browser.open example.net": "deny"}
    tools = await switched_on(tmp_path, Person(), user("Read https://a.example.org/moved"), rules=rules)
    assert "does not allow" in await run(tools, id="https://a.example.org/moved")


async def test_an_answer_for_the_conversation_holds_for_the_host(tmp_path: Path) -> None:
    person = Person(Verdict(True, Keep.CONVERSATION), NO)
    tools = await switched_on(tmp_path, person)
    assert "[0] " in await run(tools, id="https://www.example.org/1")
    assert "[1] " in await run(tools, id="https://www.example.org/2")
    assert "declined" in await run(tools, id="https://sub.www.example.org/")


async def test_pages_of_the_conversation_are_there_again(tmp_path: Path) -> None:
    first = await switched_on(tmp_path, Person(), user("Read https://a.example.org/"))
    text = await run(first, id="https://a.example.org/")
    await first.close()
    shown = Message(Role.TOOL, text, "browser.open", "analysis", "assistant")
    again = await switched_on(tmp_path, Person(), user("And now?"), shown)
    assert "[1] " in await run(again, id=0)


@pytest.mark.parametrize(
    ("settings", "trouble"),
    [
        ({"search": "brave"}, "the search brave needs a key: set BRAVE_API_KEY, or change the table [browser]"),
        ({"search": "bing"}, "there is no search 'bing'; there is: wikipedia, searxng,"),
        ({"search": "searxng"}, "the search searxng needs a URL"),
    ],
)
async def test_a_search_that_is_not_set_up_is_no_other(
    tmp_path: Path, settings: dict[str, str], trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BRAVE_API_KEY", raising=False)
    kit = await ready(BrowserKit(tmp_path, settings))
    assert kit.trouble.startswith(trouble) and not kit.tools
    monkeypatch.setenv("BRAVE_API_KEY", "x")
    kit = await ready(BrowserKit(tmp_path, {"search": "brave"}))
    assert kit.trouble == "" and len(kit.tools) == 1
    await kit.close()
    assert (await kit.tools[0].run(opening(id="https://a.example.org"), lambda text: None)).error


async def test_missing_packages_are_named_with_their_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser_kit, "find_spec", lambda name: None)
    kit = await ready(BrowserKit(tmp_path, {"search": "ddgs"}))
    assert kit.trouble == f"the search ddgs needs a package: {install_line('ddgs')}"
    monkeypatch.setattr(browser_kit, "find_spec", lambda name: object())
    monkeypatch.setattr("mlx_model.tools.browser.tool.find_spec", lambda name: None)
    await kit.prepare()
    assert kit.trouble == f"packages are missing: {install_line('browser')}"
    assert kit.instructions == "" and not kit.tools
    monkeypatch.undo()
    await kit.prepare()
    assert kit.trouble == "" and len(kit.tools) == 1


def test_it_is_switched_on_by_its_name_with_the_settings(home: Path) -> None:
    home.mkdir()
    (home / "settings.toml").write_text('[browser]\nurl = "http://localhost:8888"\nallow_hosts = ["wiki.local"]\n')
    assert load().browser == {"url": "http://localhost:8888", "allow_hosts": ("wiki.local",)}
    (kit,) = kits_of(["browser"], "c1")
    assert kit.name == "browser" and not list(home.glob("kept"))
