"""Where the lines of a run can also go: TensorBoard, trackio, Weights & Biases, MLflow.

Each is an adapter of a library that `pip install "ipsrl[NAME]"` brings.  A step is that of the run.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

from ipsrl.errors import ConfigError, MissingExtra

PROJECT = "ipsrl"


class Sink(ABC):
    """One of them, called from one thread.

    Args:
      directory: of the run, which gives it its name.
      config: keys and values of the run.
    """

    @abstractmethod
    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name."""

    @abstractmethod
    def table(
        self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """A table, which takes the place of an earlier one where the library wants that."""

    @abstractmethod
    def picture(self, name: str, step: int, png: bytes) -> None:
        """A picture."""

    @abstractmethod
    def close(self) -> None:
        """Send what is left."""


class TensorBoard(Sink):
    """Event files in the folder `tensorboard` of the run; written without TensorFlow or PyTorch."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._writer = EventFileWriter(str(directory / "tensorboard"))
        self._text("config", 0, _markdown(("key", "value"), list(config.items())))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._add(step, tag=name, simple_value=value)

    def table(
        self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        self._text(name, step, _markdown(columns, rows))

    def picture(self, name: str, step: int, png: bytes) -> None:
        Summary = import_module("tensorboard.compat.proto.summary_pb2").Summary

        width, height = _size(png)
        image = Summary.Image(
            encoded_image_string=png, width=width, height=height, colorspace=3
        )  # fmt: skip
        self._add(step, tag=name, image=image)

    def close(self) -> None:
        self._writer.close()

    def _text(self, name: str, step: int, text: str) -> None:
        SummaryMetadata = import_module("tensorboard.compat.proto.summary_pb2").SummaryMetadata
        TensorProto = import_module("tensorboard.compat.proto.tensor_pb2").TensorProto
        TensorShapeProto = import_module(
            "tensorboard.compat.proto.tensor_shape_pb2"
        ).TensorShapeProto

        shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
        tensor = TensorProto(dtype="DT_STRING", string_val=[text.encode()], tensor_shape=shape)
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        self._add(step, tag=name, tensor=tensor, metadata=SummaryMetadata(plugin_data=plugin))

    def _add(self, step: int, **value: Any) -> None:
        Event = import_module("tensorboard.compat.proto.event_pb2").Event
        Summary = import_module("tensorboard.compat.proto.summary_pb2").Summary

        summary = Summary(value=[Summary.Value(**value)])
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


class Trackio(Sink):
    """A dashboard on this machine: `trackio show`."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        import trackio  # pyright: ignore[reportMissingImports]

        self._trackio = trackio
        trackio.init(project=PROJECT, name=directory.name, config=dict(config))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._trackio.log(dict(values), step=step)

    def table(
        self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        import pandas as pd

        frame = pd.DataFrame([list(row) for row in rows], columns=list(columns))
        self._trackio.log({name: self._trackio.Table(dataframe=frame)}, step=step)

    def picture(self, name: str, step: int, png: bytes) -> None:
        self._trackio.log({name: self._trackio.Image(_pixels(png))}, step=step)

    def close(self) -> None:
        self._trackio.finish()


class WandB(Sink):
    """Weights & Biases; WANDB_MODE=offline keeps it on this machine."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        self._wandb = wandb
        self._run = wandb.init(
            project=PROJECT, name=directory.name, dir=str(directory), config=dict(config),
            settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def table(
        self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        data = [list(row) for row in rows]
        self._run.log({name: self._wandb.Table(columns=list(columns), data=data)}, step=step)

    def picture(self, name: str, step: int, png: bytes) -> None:
        self._run.log({name: self._wandb.Image(_pixels(png))}, step=step)

    def close(self) -> None:
        self._run.finish()


class MLflow(Sink):
    """MLflow, at MLFLOW_TRACKING_URI."""

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        import mlflow  # pyright: ignore[reportMissingImports]

        self._mlflow = mlflow
        mlflow.set_experiment(PROJECT)
        mlflow.start_run(run_name=directory.name)
        mlflow.log_params({key: str(value)[:500] for key, value in config.items()})

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        # It takes letters, digits and _-. :/ in names.
        self._mlflow.log_metrics(dict(values), step=step)

    def table(
        self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        data = {column: [row[i] for row in rows] for i, column in enumerate(columns)}
        self._mlflow.log_dict(data, f"{name}/{step:09}.json")

    def picture(self, name: str, step: int, png: bytes) -> None:
        self._mlflow.log_image(_pixels(png), f"{name}/{step:09}.png")

    def close(self) -> None:
        self._mlflow.end_run()


SINKS: dict[str, type[Sink]] = {
    "tensorboard": TensorBoard,
    "trackio": Trackio,
    "wandb": WandB,
    "mlflow": MLflow,
}
"""By the name of the package and of the extra that brings it."""


def check(names: Sequence[str]) -> None:
    """See that sinks can be used, before any work.

    Raises:
      ConfigError: for an unknown one.
      MissingExtra: with the pip line, for one whose package is not installed.
    """
    for name in names:
        if name not in SINKS:
            raise ConfigError(f"--log-to {name} is unknown. Use {', '.join(SINKS)}.")
        if find_spec(name) is None:
            raise MissingExtra(name, name)


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    def line(cells: Sequence[Any]) -> str:
        return "| " + " | ".join(_cell(cell) for cell in cells) + " |"

    return "\n".join([line(columns), "|" + "---|" * len(columns), *map(line, rows)])


def _cell(value: Any) -> str:
    """Text of a cell: that of the user stays text."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    for mark, written in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("\n", " ")):
        text = text.replace(mark, written)
    return text


def _size(png: bytes) -> tuple[int, int]:
    """Width and height, which a PNG says in its first chunk."""
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def _pixels(png: bytes) -> Any:
    """A picture of Pillow, which all three take."""
    from PIL import Image

    return Image.open(BytesIO(png)).convert("RGB")
