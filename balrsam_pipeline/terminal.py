"""What a terminal gets more than a log: one live line, and colours (of tables too) unless NO_COLOR asks for
none.

rich draws both, and is imported only where there is a terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

Told = Callable[[], tuple[str, float | None]]
REFRESHED_PER_S = 4
BAR_WIDTH = 12
TABLE_STYLES = {
    r"(?m)^-{3,}$": "dim",
    r"(?m)^(label|candidate|stage)  .*$": "bold cyan",
    r"(?m)^mean  .*$": "bold",
    r"(?m)(?<=  )[AB]$": "bold green",
}


@cache
def console() -> Console:
    """The terminal behind standard error."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def is_live_terminal() -> bool:
    """Whether standard error is a terminal whose lines can be drawn anew."""
    return sys.stderr is not None and sys.stderr.isatty() and not console().is_dumb_terminal


def painted(table: str) -> str:
    """A table of text in the colours of the terminal that it is printed to, or as it is where there is none.

    A rule is a line of dashes, a header begins with "label", "candidate" or "stage", a line that sums up
    with "mean"; an A or B at the end of a line says who is better.
    """
    if sys.stdout is None or not sys.stdout.isatty():
        return table
    from rich.console import Console
    from rich.text import Text

    screen = Console(highlight=False)
    if screen.is_dumb_terminal:
        return table
    text = Text(table)
    for pattern, style in TABLE_STYLES.items():
        text.highlight_regex(pattern, style)
    with screen.capture() as captured:
        screen.print(text, soft_wrap=True)
    return captured.get().rstrip("\n")


class LiveLine:
    """A line at the bottom of the terminal that follows what `told` says: text, and a share from 0 to 1 or
    None."""

    def __init__(self, told: Told) -> None:
        from rich.live import Live

        self._told = told
        self._live = Live(
            console=console(),
            get_renderable=self._drawn,
            refresh_per_second=REFRESHED_PER_S,
            transient=True,
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        self._live.start()

    def close(self) -> None:
        """Take the line away."""
        self._live.stop()

    def _drawn(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        text, share = self._told()
        row = Table.grid(padding=(0, 1), expand=True)
        row.add_column(width=BAR_WIDTH)
        row.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        row.add_row(
            ProgressBar(total=1.0, completed=share or 0.0, width=BAR_WIDTH, pulse=share is None), Text(text)
        )
        return row
