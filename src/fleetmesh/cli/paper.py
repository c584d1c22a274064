"""
What people read: aligned tables and wrapped sentences, coloured on a terminal only. The one module that
imports rich.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WIDTH = 80
_FIRST = 36  # letters of a first column that aren't broken
_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan", "in": "green", "out": "red"}


class Paper:
    """
    Collects what is to be printed.
    """

    def __init__(self) -> None:
        terminal = sys.stdout.isatty()
        width = (
            shutil.get_terminal_size((WIDTH, 24)).columns if terminal or "COLUMNS" in os.environ else WIDTH
        )
        self._sheet = io.StringIO()
        self._console = Console(
            file=self._sheet,
            width=max(width, 40),
            force_terminal=terminal,
            no_color=None if terminal else True,
            highlight=False,
            markup=False,
            emoji=False,
            legacy_windows=False,
        )

    def text(self) -> str:
        """
        All of it, without spaces at the ends of lines.
        """
        return "".join(line.rstrip() + "\n" for line in self._sheet.getvalue().splitlines())

    def blank(self) -> None:
        """
        An empty line.
        """
        self._console.print()

    def title(self, text: str) -> None:
        """
        A line that stands out.
        """
        self._console.print(Text(text, style="bold"))

    def line(self, text: str, *, indent: int = 0, style: str = "") -> None:
        """
        A sentence, wrapped at words; lines after the first are indented alike.
        """
        self._console.print(Padding(Text(text, style=_STYLES.get(style, style)), (0, 0, 0, indent)))

    def verbatim(self, text: str, *, indent: int = 0, style: str = "") -> None:
        """
        A line that is never broken, such as a path or a command to be copied.
        """
        line = Text(f"{' ' * indent}{text}", style=_STYLES.get(style, style))
        self._console.print(line, soft_wrap=True)

    def item(self, mark: str, text: str, *, indent: int = 0, style: str = "") -> None:
        """
        A sentence that hangs on a mark or word.
        """
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(mark, style=_STYLES.get(style or mark, "")), Text(text))
        self._console.print(Padding(grid, (0, 0, 0, indent)))

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[int] = ()) -> None:
        """
        Rows under a head; a first cell that repeats the one above is left empty.

        Args:
            right: The columns of numbers.
        """
        numbers, filled = set(right), [tuple(row) for row in rows]
        longest = max((len(row[0]) for row in filled), default=0)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for index, name in enumerate(head):
            table.add_column(
                name,
                justify="right" if index in numbers else "left",
                overflow="fold",
                no_wrap=index in numbers or (index == 0 and longest <= _FIRST),
            )
        above = ""
        for row in filled:
            first = "" if row[0] == above else row[0]
            above = row[0]
            table.add_row(*(Text(cell) for cell in (first, *row[1:])))
        self._console.print(table)
