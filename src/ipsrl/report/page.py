"""A self-contained HTML page of runs: no request leaves it, and data is shown as text."""

from __future__ import annotations

from base64 import b64encode
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
    from ipsrl.report.figures import of_grids
    from ipsrl.report.molecules import of_searches

    views = {"molecules": of_searches, "grids": of_grids}
    by_family: dict[str, dict[str, Path]] = {family: {} for family in views}
    for label, directory in runs.items():
        family = _family(Run.open(directory))
        if family not in views:
            raise RunError(
                f"{directory} is a run of {family}, which this page has no figures of. "
                f"Pass runs of {' or '.join(views)}; see also `ipsrl diagnose`."
            )
        by_family[family][label] = directory
    figures, notes = {}, []
    for family, members in by_family.items():
        if members:
            drawn, note = views[family](members)
            figures |= drawn
            notes.append(note)
    write_page(out, title=title, figures=figures, rows=rows, note=" ".join(filter(None, notes)))


def _family(run: Run) -> str:
    """Of a finished run; those of a version that did not record it are known by their results."""
    result = run.result()
    if run.family is not None:
        return run.family
    if "ob100" in result:
        return "molecules"
    return "grids" if "floor_l1" in result else "a language model"


def _show(value: Any) -> str:
    if value is None:  # not in the paper, not known, or never
        return "-"
    if isinstance(value, Mapping):
        return f"{value['median']:.3g} [{value['low']:.3g}, {value['high']:.3g}]"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value)
