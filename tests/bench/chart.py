"""Tables drawn as horizontal bars, in SVG that reads on light and dark pages."""

from collections.abc import Sequence
from html import escape

from results import Table, told

_WIDTH, _NAMES, _BARS, _ROW = 840, 380, 360, 22
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600 }
  .name { text-anchor: end }
  rect { fill: #4c8bf5 }
  .ours { fill: #d9730d }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }
"""


def draw(tables: Sequence[Table]) -> str:
    """One chart of each table that says which column to draw, below each other; what is ours stands out."""
    lines: list[str] = []
    top = 10
    for table in tables:
        if table.drawn is None:
            continue
        at = table.columns.index(table.drawn)
        bars = [(str(row[0]), float(row[at])) for row in table.rows if row[at] is not None]
        lines.append(f'<text class="title" x="10" y="{top + 14}">{escape(f"{table.title}: {table.drawn}")}</text>')
        top += 24
        lines += _bars(bars, top)
        top += len(bars) * _ROW + 16
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *lines, "</svg>", ""])


def _bars(bars: Sequence[tuple[str, float]], top: float) -> list[str]:
    longest = max((value for _, value in bars), default=0) or 1
    lines = []
    for n, (name, value) in enumerate(bars):
        y, width = top + n * _ROW, max(1, value / longest * _BARS)
        mark = ' class="ours"' if name.startswith("ours") else ""
        lines += [
            f'<text class="name" x="{_NAMES - 8}" y="{y + 14}">{escape(name)}</text>',
            f'<rect{mark} x="{_NAMES}" y="{y + 2}" width="{width:.1f}" height="{_ROW - 6}" rx="2"/>',
            f'<text x="{_NAMES + width + 6:.1f}" y="{y + 14}">{told(value)}</text>',
        ]
    return lines
