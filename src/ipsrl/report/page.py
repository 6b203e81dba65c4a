"""A self-contained HTML page of runs: no request leaves it, and data is shown as text.

The page holds its data as JSON, Plotly, and the script that draws (page_files/).  A browser runs
these scripts and no other, and loads nothing: the policy in the head says so.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipsrl.config import toml
from ipsrl.errors import IpsrlError, MissingExtra, NoRun, RunError
from ipsrl.report.colours import coloured
from ipsrl.report.comparison import alike, charts, differing, interval, overview
from ipsrl.report.folders import find
from ipsrl.report.readers import read
from ipsrl.report.readers.base import WRITTEN
from ipsrl.report.view import Routes, Table, View, as_json, listed
from ipsrl.runs import Folder, write_whole
from ipsrl.runs.folder import is_page, temporary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FILES = Path(__file__).parent / "page_files"
UNREAD = "cannot be read"
"""Title of what cannot be."""

_TASK = re.compile(r" (on|from) .*")  # of a title, which begins with the method
_SCRIPTS = ("elements.js", "charts.js", "answers.js", "gallery.js", "page.js")  # in this order


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
    _plotly()


def write_page(
    out: Path,
    *,
    title: str,
    figures: Mapping[str, tuple[str, Figure]],
    rows: Sequence[Mapping[str, Any]] = (),
    note: str = "",
    runs: Mapping[str, Path] | None = None,
) -> None:
    """Write the page of an item, and each of its figures as PNG beside it.

    Args:
      out: HTML file to write.
      title: heading of the page.
      figures: end of the file name, and figure, by caption.
      rows: table above the figures; a value may be a dict of median, low and high.
      note: what readers must know.
      runs: run directories by label that the page shows too.
    """
    from ipsrl.report.figures import as_png

    pngs = {caption: (name, as_png(figure)) for caption, (name, figure) in figures.items()}
    files = {f"{out.stem}-{name}.png": png for name, png in pngs.values()}
    views = [_timeless(read(place, label, len(runs or ())), place, label)
             for label, place in (runs or {}).items()]  # fmt: skip
    pictures = {caption: png for caption, (_, png) in pngs.items()}
    tables = [table_of("", rows)] if rows else []
    files[out.name] = page(title, views, tables=tables, pictures=pictures, note=note)
    _write(out, files)


def write_report(paths: Sequence[Path], out: Path, *, refresh: int = 0) -> list[View]:
    """Write the page of runs, and of folders of them.

    Args:
      paths: run directories, or folders of such, as `ipsrl reproduce` makes.
      out: HTML file to write.
      refresh: seconds after which the page reads itself again; 0 for never.
    Returns:
      the views of the runs; those that cannot be read have the state unknown.
    Raises:
      MissingExtra: without the libraries of `ipsrl[report]`.
      NoRun: if there is no run, or none that can be read.
      RunError: if `out` cannot be written, or is a file that is not a report.
    """
    _plotly()
    if out.is_dir():
        raise RunError(f"{out} is a folder. Name a file in it: --out {out / 'report.html'}")
    for path in (out, temporary(out)):
        if (path.exists() or path.is_symlink()) and not is_page(path):
            raise RunError(
                f"{path} exists and is not a report, so it is not overwritten. Name another file "
                "with --out, or move it away."
            )
    found = find(paths)
    views = [_read(place, label, len(found.runs)) for label, place in found.runs.items()]
    views = [_crashed(one, found.failed.get(one.label, "")) for one in views]
    views += [
        View(label, "", "did not begin", "unknown", alarms=[f"{label} failed: {why}"])
        for label, why in found.failed.items()
        if label not in found.runs
    ]
    views += [_unknown(path, why) for path, why in found.troubles.items()]
    shown = found.tables or found.routes or found.notes
    if not shown and all(view.state == "unknown" for view in views):
        raise NoRun(" ".join(why for one in views for why in one.alarms))
    tables = [table_of(f"Results, {name}", rows) for name, rows in found.tables.items()]
    title = _title(paths, views)
    content = page(
        title, views, tables=tables, pictures=found.pictures, routes=found.routes,
        note=" ".join(found.notes), refresh=refresh,
    )  # fmt: skip
    try:
        write_whole(out, content)  # and no files.json, which a run may be writing just now
    except OSError as error:
        raise _not_written(out, error) from None
    return views


def _timeless(view: View, directory: Path, label: str) -> View:
    """Without dates and paths, so that an item writes the same bytes again, and elsewhere."""
    about = {key: told for key, told in view.about.items() if key != WRITTEN}
    again = view.again.replace(str(directory), label)
    return replace(view, about=about, command=again, again=again)


def _read(directory: Path, label: str, among: int) -> View:
    """The view of a run; one that cannot be read says why."""
    try:
        return read(directory, label, among)
    except IpsrlError as error:
        if isinstance(error, MissingExtra) and among == 1:  # nothing is wrong with the run
            raise
        return _unknown(label, str(error))


def _crashed(view: View, why: str) -> View:
    """A run whose process died, which could not say why; its sweep knows."""
    if not why or view.state != "stopped":
        return view
    return replace(view, state="failed", alarms=[*view.alarms, f"The run failed: {why}."])


def _unknown(label: str, why: str) -> View:
    return View(label, "", UNREAD, "unknown", alarms=[why])


def page(
    title: str,
    views: Sequence[View],
    *,
    tables: Sequence[Table] = (),
    pictures: Mapping[str, bytes] | None = None,
    routes: Sequence[Routes] = (),
    note: str = "",
    refresh: int = 0,
) -> bytes:
    """The page as HTML; the same views give the same bytes."""
    try:
        from jinja2 import Environment
    except ImportError as error:
        raise MissingExtra("report", error.name or "jinja2") from None

    views, colours = coloured(views)
    data = {
        "title": title,
        "note": note,
        "refresh": refresh,
        "tables": tables,
        "pictures": [
            {"caption": caption, "src": _source(content)}
            for caption, content in (pictures or {}).items()
        ],
        "routes": routes,
        "overview": overview([one for one in views if one.state != "unknown"]),
        "alike": alike(views),
        "colours": colours,
        "charts": charts(views),
        "differing": differing(views),
        "runs": [
            replace(one, curves=(), summary={k: interval(v) for k, v in one.summary.items()})
            for one in views
        ],
    }
    ours = "\n".join((_FILES / name).read_text("utf-8") for name in _SCRIPTS)
    scripts = [ours, _plotly()]  # the page is there before the library is read
    template = Environment(autoescape=True).from_string((_FILES / "page.html").read_text("utf-8"))
    return template.render(
        title=title,
        style=(_FILES / "page.css").read_text("utf-8"),
        data=as_json(data),
        scripts=scripts,
        hashes=" ".join(map(_hash, scripts)),
    ).encode()


def table_of(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The rows of an item's table: values, intervals, and those of one level below."""
    flat = [
        dict(_flat(_of_sweep(row) if row.keys() >= {"values", "measures"} else row)) for row in rows
    ]
    columns = list(dict.fromkeys(key for row in flat for key in row))
    return Table(title, columns, [[row.get(column) for column in columns] for row in flat])


def _of_sweep(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row as `sweep.results.rows_of` makes it: its values by key, its measures, what failed.

    A table or a list is shown as TOML.  A key and a measure may have one name, such as reward.
    """
    found = {
        key: toml(value) if isinstance(value, list | dict) else value
        for key, value in (row["values"] or {"cell": row["cell"]}).items()
    }
    measures = row["measures"].items()
    found |= {f"{name}, result" if name in found else name: value for name, value in measures}
    if failed := row["failed"]:
        found["runs failed"] = "; ".join(f"{run} {why}" for run, why in failed.items())
    return found


def _flat(row: Mapping[str, Any], before: str = "") -> Any:
    for key, value in row.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping) and "median" not in value:
            yield from () if before else _flat(value, f"{name} ")
        elif isinstance(value, list):
            if len(value) == 3 and all(isinstance(one, int | float) for one in value):
                yield name, dict(zip(("median", "low", "high"), value, strict=True))
        else:
            yield name, value


def _title(paths: Sequence[Path], views: Sequence[View]) -> str:
    """What was run: for each task the methods, and how many runs; of one folder also its name."""
    shown = [one.title for one in views if one.state != "unknown"]
    tasks: dict[str, list[str]] = defaultdict(list)
    for title in shown:
        found = _TASK.search(title)
        tasks[found[0] if found else ""].append(title[: found.start()] if found else title)
    parts = []
    for task, methods in tasks.items():
        part = listed(list(dict.fromkeys(methods))) + task
        parts.append(f"{part} ({len(methods)} runs)" if len(methods) > 1 else part)
    what, where = listed(parts, "; "), listed([path.resolve().name for path in paths])
    return f"{where}: {what}" if what and len(paths) == 1 < len(shown) else what or where


def _source(picture: bytes) -> str:
    """A picture, PNG or SVG, as what an image shows."""
    kind = "png" if picture.startswith(b"\x89PNG") else "svg+xml"
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


@lru_cache
def _plotly() -> str:
    """The script of the library, from the package."""
    try:
        home = find_spec("plotly")  # not imported, which takes a second
    except ImportError:
        home = None
    if home is None or home.origin is None:
        raise MissingExtra("report", "plotly")
    script = (Path(home.origin).parent / "package_data" / "plotly.min.js").read_text("utf-8")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


def _write(out: Path, files: Mapping[str, bytes]) -> None:
    folder = Folder.make(out.parent)
    try:
        folder.claim(*files)
        for name, content in files.items():
            folder.write(name, content)
    except OSError as error:
        raise _not_written(out, error) from None


def _not_written(out: Path, error: OSError) -> RunError:
    return RunError(f"{out} cannot be written ({error}). Name a file with --out.")
