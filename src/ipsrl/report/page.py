"""A self-contained HTML page of runs: no request leaves it, and data is shown as text."""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipsrl.errors import MissingExtra, RunError
from ipsrl.runs import Folder, Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem;
         padding: 0 1rem }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem }
  th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd }
  th:first-child, td:first-child { text-align: left }
  img { max-width: 100% }
  .wide { overflow-x: auto }
</style>
<h1>{{ title }}</h1>
<p>{% if rows %}Median [lowest, highest] over the seeds. {% endif %}{{ note }}</p>
{% if rows %}
<div class="wide"><table>
<tr>{% for name in rows[0] %}<th>{{ name.replace("_", " ") }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>
{% for value in row.values() %}<td>{{ show(value) }}</td>{% endfor %}
</tr>{% endfor %}
</table></div>
{% endif %}
{% for caption, image in images.items() %}
<h2>{{ caption }}</h2>
<img alt="{{ caption }}" src="data:image/png;base64,{{ image }}">
{% endfor %}
</html>
"""


def check_libraries() -> None:
    """Refuse now what could not be drawn after hours of training.

    Raises:
      MissingExtra: without the libraries of `ipsrl[report]`.
    """
    try:
        import jinja2  # noqa: F401

        import ipsrl.report.figures  # noqa: F401
    except ImportError as error:
        raise MissingExtra("report", error.name or "matplotlib") from None


def write_page(
    out: Path,
    *,
    title: str,
    figures: Mapping[str, tuple[str, Figure]],
    rows: Sequence[Mapping[str, Any]] = (),
    note: str = "",
) -> None:
    """Write a page of figures under a table, and each figure as PNG beside it.

    Args:
      out: HTML file to write.
      title: heading of the page.
      figures: end of the file name, and figure, by caption.
      rows: table above the figures; a value may be a dict of median, low and high.
      note: what readers must know.
    """
    from jinja2 import Environment

    from ipsrl.report.figures import as_png

    pngs = {caption: (name, as_png(figure)) for caption, (name, figure) in figures.items()}
    images = {caption: b64encode(png).decode() for caption, (_, png) in pngs.items()}
    template = Environment(autoescape=True).from_string(_PAGE)
    page = template.render(title=title, rows=list(rows), note=note, images=images, show=_show)
    files = {f"{out.stem}-{name}.png": png for name, png in pngs.values()}
    files[out.name] = page.encode()
    folder = Folder.make(out.parent)
    try:
        folder.claim(*files)
        for name, content in files.items():
            folder.write(name, content)
    except OSError as error:
        raise RunError(f"{out} cannot be written ({error}). Name a file with --out.") from None


def write_report(
    runs: Mapping[str, Path],
    out: Path,
    *,
    title: str = "ipsrl report",
    rows: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a page with the figures of finished runs on grids and searches for molecules.

    Args:
      runs: run directories by label.
      out: HTML file to write.
      title: heading of the page.
      rows: table above the figures, see `write_page`.
    Raises:
      MissingExtra: without the libraries of `ipsrl[report]`.
      RunError: if a directory holds no finished run.
    """
    check_libraries()
    from ipsrl.report.figures import GridShape, learning_curves, terminal_distributions
    from ipsrl.report.molecules import curve, hits_by_calls, without_value

    results = {label: Run.open(directory).result() for label, directory in runs.items()}
    searches = {
        label: [curve(runs[label])] for label, result in results.items() if "ob100" in result
    }
    others = [label for label, result in results.items() if not {"ob100", "floor_l1"} & {*result}]
    if others:
        raise RunError(
            f"{runs[others[0]]} is a run of a language model, which this page has no figures of. "
            "Pass runs on grids or of molecules; see also `ipsrl diagnose`."
        )
    by_grid: dict[tuple[int, int], dict[str, Path]] = defaultdict(dict)
    for label, directory in runs.items():
        if label in searches:
            continue
        shape = Run.open(directory).config(GridShape)
        by_grid[shape.dims, shape.side][label] = directory
    figures: dict[str, tuple[str, Figure]] = {}
    if searches:
        figures["Molecules: hits by oracle calls"] = "hits", hits_by_calls(searches)
    for (dims, side), members in by_grid.items():
        grid = "x".join([str(side)] * dims)
        figures[f"{grid}: distance to the target"] = f"{grid}-l1", learning_curves(members)
        enumerable = {k: v for k, v in members.items() if Run.open(v).arrays()}
        if enumerable:
            drawn = terminal_distributions(enumerable)
            figures[f"{grid}: terminal distributions"] = f"{grid}-terminal", drawn
    notes = (without_value(label, results[label]) for label in searches)
    write_page(out, title=title, figures=figures, rows=rows, note=" ".join(filter(None, notes)))


def _show(value: Any) -> str:
    if value is None:  # not in the paper, not known, or never
        return "-"
    if isinstance(value, Mapping):
        return f"{value['median']:.3g} [{value['low']:.3g}, {value['high']:.3g}]"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)
