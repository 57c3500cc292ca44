"""A container that gets widgets while the chat runs."""

from textual.widget import AwaitMount, Widget


class LiveContainer(Widget):
    """Takes no widgets once it is gone from the screen, or the chat has begun to end.

    Between `App.exit` and the moment in which the screen closes, Textual 8.2 raises a MountError for every mount; but
    an answer or a command may be under way then, and come back from an `await` to mount what it has to show.

    Named last among the bases of a class: Textual takes the default CSS from the first.
    """

    def mount(
        self, *widgets: Widget, before: int | str | Widget | None = None, after: int | str | Widget | None = None
    ) -> AwaitMount:
        """See Widget.mount."""
        return super().mount(*widgets, before=before, after=after) if self.is_attached else AwaitMount(self, [])
