"""What the rows below the input say: the hint of the moment, what a selected message can do, the keys of the footer."""

from app.tui.parts.conversation import ConversationKeeper
from app.tui.parts.desk import Desk
from app.tui.parts.preferences import Preferences
from app.tui.parts.selection import Selection
from app.tui.parts.tools import Tools
from app.tui.text.footer_keys import ChatFacts, offered

# The most urgent first.
EDITING = "editing a message: Esc cancels"
BRANCHING = "your message branches here: Esc goes back"
MORE_BELOW = "\u2193 more below, End jumps there"
CIRCLING = "the thought repeats: ^S answers now"
ROOM_TO_ANSWER = "context nearly full: ^S answers now"
NEARLY_FULL = "context nearly full: ^N starts anew"
NOTES_WAIT = "^G reads on, ^S answers from the notes"
READING_WAITS = "^G reads the document"
UNANSWERED = "^G answers the message"
CUT_OFF = "^G continues the answer"


class Hints:
    """Brings them up to date, and with them the title of the window."""

    def __init__(
        self,
        desk: Desk,
        conversations: ConversationKeeper,
        tools: Tools,
        preferences: Preferences,
        selection: Selection,
    ) -> None:
        self._desk = desk
        self._conversations = conversations
        self._tools = tools
        self._preferences = preferences
        self._selection = selection

    def show(self) -> None:
        """Say what Esc, End, ^N or ^G does now, else which tools and instructions hold; and which keys do something."""
        desk, conversations = self._desk, self._conversations
        conversation, thinking = conversations.conversation, desk.status.state == "thinking"
        hints = (
            EDITING if conversations.editing else BRANCHING if conversations.branching else "",
            MORE_BELOW if not desk.transcript.follows else "",
            CIRCLING if desk.status.circling else "",
            (ROOM_TO_ANSWER if thinking else NEARLY_FULL) if desk.status.nearly_full else "",
            NOTES_WAIT if conversations.notes_wait else "",
            READING_WAITS if conversations.reading_waits else "",
            UNANSWERED if conversations.is_unanswered else "",
            CUT_OFF if conversations.cut_off is not None else "",
            self._tools.hint(conversation.id),
            self._preferences.hint(conversation.id),
        )
        desk.effort_switch.hint(next(filter(None, hints), ""))
        desk.attention.show(desk.status.state, conversation.title)
        self._selection.show()  # an answer that has ended can be continued, say
        answering = not conversations.idle.is_set()
        facts = ChatFacts(
            answering,
            thinking or conversations.is_reading,
            bool(conversation.nodes),
            self._tools.is_asking,
            self._selection.is_running_code,
        )
        desk.footer.show(offered(facts))
