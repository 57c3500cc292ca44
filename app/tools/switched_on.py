"""The kits that a person has switched on in a conversation: their tools, and who decides on a call."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from app.tools.kit import Browsing, Following, Kit
from app.tools.origins import may_be_private, origin_of, origins_of
from app.tools.permission import Decision, Rule, Wish, decide, rules_of
from app.tools.verdict import Keep, Verdict
from mlx_model.harmony.calls import ToolCall
from mlx_model.harmony.message import Message
from mlx_model.tools.base import Tool
from mlx_model.tools.toolbox import Toolbox

FORBIDDEN = "The user does not allow this tool."
DECLINED = "The user declined this call"


@dataclass(frozen=True, slots=True)
class Approval:
    """What became of the question whether a call may be run: `by` says what has allowed it, for people; `refusal` is
    what the model reads in place of a result, None if it is allowed."""

    by: str = ""
    refusal: str | None = None


Ask = Callable[[ToolCall, Wish], Awaitable[Verdict]]
"""Shows a person a call, and what it wants."""


class SwitchedOn:
    """Kits of one conversation.

    `permissions` are those of the settings. `ask` is asked where these don't decide, and `remember` gets the subjects
    of new rules of theirs. Starts nothing by itself; `close` ends what has been started.

    A yes that holds for longer is given to a model that has read what it has read by then. Where text has come in since
    from elsewhere (a page, files, what another tool gave), a call by which something may leave the computer is asked
    about once more: that text may have misled the model. Rules that name a whole tool, as people write them themselves,
    hold in any case.
    """

    def __init__(
        self,
        kits: Sequence[Kit],
        permissions: Mapping[str, str],
        ask: Ask,
        remember: Callable[[str], None] = lambda subject: None,
    ) -> None:
        self.kits = tuple(kits)
        self.toolbox = Toolbox()
        """The tools of those kits that can be used. Known after `prepare`."""
        self.rules = rules_of(permissions)
        """What holds in this conversation."""
        self._ask = ask
        self._remember = remember
        self._origins = set[str]()
        self._confirmed = set[str]()  # subjects that were allowed after text had come in from elsewhere
        for kit in self.kits:
            if isinstance(kit, Browsing):
                kit.judge = self._judge_again

    async def prepare(self, messages: Sequence[Message] | None = None) -> None:
        """Makes the kits ready, all at once, for a turn that follows these messages; None where no turn follows. Of two
        servers' tools of one name the first is offered."""
        await asyncio.gather(*(kit.prepare() for kit in self.kits))
        if messages is not None:
            self._follow(messages)
        tools = dict[str, Tool]()
        for tool in (tool for kit in self.kits if not kit.trouble for tool in kit.tools):
            tools.setdefault(tool.name, tool)
        self.toolbox = Toolbox(tools.values())

    def instructions(self, own: str | None) -> str | None:
        """The developer message: a conversation's own instructions, and what holds of the tools here."""
        told = [kit.instructions for kit in self.kits if not kit.trouble]
        return "\n\n".join(filter(None, [own, *told])) or None

    async def approve(self, call: ToolCall) -> Approval:
        """Decides on a call: by the rules, else by the person."""
        tool = self.toolbox.tool(call)
        kit = next(kit for kit in self.kits if any(each is tool for each in kit.tools))
        approval = await self._judge(call, await kit.wish(call))
        if approval.refusal is None:
            self._note(origin_of(call.name))
        return approval

    async def _judge_again(self, call: ToolCall, wish: Wish) -> str | None:
        return (await self._judge(call, wish)).refusal

    async def _judge(self, call: ToolCall, wish: Wish) -> Approval:
        rules = self._still_holding(call, wish)
        decision, rule = decide(rules, wish)
        match decision:
            case Decision.ALLOW:
                return Approval(by=f"the rule {rule}" if rule else "needs no permission")
            case Decision.DENY:
                return Approval(refusal=FORBIDDEN)
        if len(rules) < len(self.rules):
            wish = replace(wish, why=f"{wish.why}; other text has come in since you allowed it")
        verdict = await self._ask(call, wish)
        if not verdict.allowed:
            return Approval(refusal=f"{DECLINED}: {verdict.reason}" if verdict.reason else f"{DECLINED}.")
        # A rule with * at its end would cover more than this.
        if verdict.keep is not Keep.ONCE and wish.always and not wish.subjects[0].endswith("*"):
            self.rules = (*self.rules, Rule(wish.subjects[0], Decision.ALLOW))
            if self._elsewhere(call):
                self._confirmed.add(wish.subjects[0])
            if verdict.keep is Keep.ALWAYS:
                self._remember(wish.subjects[0])
        return Approval(by=f"you, {verdict.keep}")

    def _still_holding(self, call: ToolCall, wish: Wish) -> tuple[Rule, ...]:
        """The rules without a yes to just this that was given before text came in from elsewhere."""
        yes = Rule(wish.subjects[0], Decision.ALLOW)
        if not wish.may_leave or yes.subject in self._confirmed or not self._elsewhere(call):
            return self.rules
        return tuple(rule for rule in self.rules if rule != yes)

    def _elsewhere(self, call: ToolCall) -> set[str]:
        return self._origins - {call.name}

    def _follow(self, messages: Sequence[Message]) -> None:
        self._origins = set()
        self._note(origins_of(messages))
        for kit in self.kits:
            if isinstance(kit, Following):
                kit.follow(messages)

    def _note(self, origins: set[str]) -> None:
        """Text comes in."""
        self._origins |= origins
        for kit in self.kits:
            if isinstance(kit, Browsing):
                kit.has_private_text = may_be_private(self._origins)

    async def close(self) -> None:
        """Ends what the kits have started."""
        await asyncio.gather(*(kit.close() for kit in self.kits))
