"""A drawing as SVG, readable on light and dark pages: text, lines, boxes and points on a canvas."""

from collections.abc import Sequence
from html import escape, unescape

COLOURS = 6
"""The number of colours of series; further series begin again with the first."""

_STYLE = """
svg { background: var(--page); --page: #fff; --ink: #222; --grid: #ddd; }
text { font: 12px system-ui, sans-serif; fill: var(--ink); }
.title { font-weight: 600; font-size: 14px; }
.grid { stroke: var(--grid); } .axis { stroke: var(--ink); }
.fill0, .stroke0 { --c: #1b6ca8; } .fill1, .stroke1 { --c: #d1622b; } .fill2, .stroke2 { --c: #3b8f4e; }
.fill3, .stroke3 { --c: #8a4fa3; } .fill4, .stroke4 { --c: #8f7a1f; } .fill5, .stroke5 { --c: #a83253; }
.fill0, .fill1, .fill2, .fill3, .fill4, .fill5 { fill: var(--c); }
.stroke0, .stroke1, .stroke2, .stroke3, .stroke4, .stroke5 { stroke: var(--c); stroke-width: 2; fill: none; }
@media (prefers-color-scheme: dark) {
  svg { --page: #1c1e22; --ink: #e6e6e6; --grid: #3a3d44; }
  .fill0, .stroke0 { --c: #6cb4ee; } .fill1, .stroke1 { --c: #f2a06f; } .fill2, .stroke2 { --c: #7fcf92; }
  .fill3, .stroke3 { --c: #c79adb; } .fill4, .stroke4 { --c: #d6c15a; } .fill5, .stroke5 { --c: #ee8aa6; }
}
"""


class Canvas:
    """A drawing of `width` by `height` pixels, with the origin at the top left."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height = width, height
        self._title = title
        self._elements: list[str] = []
        self.write_text(12, 22, title, style="title")

    def write_text(self, x: float, y: float, text: str, *, anchor: str = "start", style: str = "") -> None:
        """Write `text` with its baseline at `y`; `anchor` is `start`, `middle` or `end`."""
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
        self._elements.append(f'<text {place} class="{style}">{escape(text)}</text>')

    def draw_line(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """Draw a line through `points`."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._elements.append(f'<polyline points="{path}" class="{style}" fill="none"/>')

    def draw_box(self, x: float, y: float, size: tuple[float, float], style: str) -> None:
        """Draw a filled box with its top left corner at `x`, `y`."""
        width, height = size
        self._elements.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" class="{style}"/>'
        )

    def draw_point(self, x: float, y: float, style: str) -> None:
        """Draw a small filled circle."""
        self._elements.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{style}"/>')

    def write_legend(self, y: float, names: Sequence[str]) -> None:
        """Write the names of the series in their colours, one per line from `y` on."""
        for number, name in enumerate(names):
            self.draw_box(12, y + 18 * number, (10, 10), f"fill{number % COLOURS}")
            self.write_text(28, y + 18 * number + 10, name)

    def render(self) -> str:
        """Return the drawing as a file of its own."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:.0f} {self.height:.0f}" '
            f'width="{self.width:.0f}" height="{self.height:.0f}" role="img">'
        )
        parts = (head, f"<title>{escape(self._title)}</title>", f"<style>{_STYLE}</style>", *self._elements)
        return "\n".join((*parts, "</svg>", ""))


def read_title(drawing: str) -> str:
    """Return the title of a rendered drawing."""
    return unescape(drawing.partition("<title>")[2].partition("</title>")[0])
