"""Methods and estimators as keys of a configuration, made from the tables of core.

A family derives its `Config` from `shaped(...)`, and names its losses and what its samples tell an
estimator.  What core's tables gain is then a value of `--method` or `--estimator` and an option.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import Field, fields
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args, get_type_hints

import pydantic
import tyro
from pydantic import create_model, model_validator

from ipsrl.config import StrictConfig
from ipsrl.core.estimators import ESTIMATORS, Estimator
from ipsrl.core.methods import GRPO, METHODS, Method
from ipsrl.errors import InvalidInput


class Shaped(StrictConfig):
    """The common part of the configurations of all families; see `shaped`.

    An option that was not given has the default of the method or estimator that reads it, and None
    where none does.
    """

    heading: ClassVar[str] = "method"
    losses: ClassVar[Mapping[str, type[Method] | None]] = {}
    defaults: ClassVar[Mapping[str, Any]] = {}

    method: str = "ips-grpo"
    """Learning algorithm; docs/methods.md has all."""
    estimator: str | None = None
    """Estimator of p(outcome)."""
    success_above: float | None = None
    """Rewards above this are right, and only right samples are scaled; all if not given."""

    @classmethod
    def _usual(cls) -> dict[str, dict[str, Any]]:
        """The default of each option that is a key, for each method or estimator that reads it."""
        usual: dict[str, dict[str, Any]] = {}
        for name, kind in (METHODS | dict(cls.losses) | ESTIMATORS).items():
            for one in fields(cast(Any, kind)) if kind else ():
                key = option_key(name, one)
                if key in cls.model_fields:
                    usual.setdefault(key, {})[name] = cls.defaults.get(key, one.default)
        return usual

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Give every option that is read its value, and refuse a value for any other."""
        values = dict(values)
        method = values.get("method", cls.model_fields["method"].default)
        if not isinstance(method, str):  # which pydantic refuses
            return values
        usual = cls._usual()
        counts = _looks_at(cls, method, "p")
        if counts and values.get("estimator") is None:
            values["estimator"] = "group"
        elif not counts and values.get("estimator") == "group":  # as another method left it
            del values["estimator"]
        chosen = (method, values.get("estimator"))
        for key, defaults in usual.items():
            read = [default for reader, default in defaults.items() if reader in chosen]
            if read and values.get(key) is None:
                values[key] = read[0]
            elif not read and any(_same(values.get(key), each) for each in defaults.values()):
                del values[key]
        return values

    @model_validator(mode="after")
    def _has_effect(self) -> Self:
        """Refuse an option that nothing reads."""
        readers = {key: list(defaults) for key, defaults in self._usual().items()}
        names = METHODS | dict(self.losses)
        for key, field in (("estimator", "p"), ("success_above", "success")):
            readers[key] = [name for name in names if _looks_at(type(self), name, field)]
        for key, those in readers.items():
            given = getattr(self, key, None) is not None
            if given and not {self.method, self.estimator} & set(those):
                kind = "method" if set(those) <= set(names) else "estimator"
                raise ValueError(
                    f"{key} has no effect with {kind} {getattr(self, kind)}, only with "
                    f"{', '.join(those)}. Leave it out"
                )
        try:
            self.shaping()
            self.estimates()
        except InvalidInput as error:
            raise ValueError(str(error).removesuffix(".")) from None
        return self

    def looks_at(self, field: str) -> bool:
        """True if the method reads that field of a `Group`."""
        return _looks_at(type(self), self.method, field)

    def shaping(self) -> Method:
        """The method with its options; for a loss, the method that computes its advantages."""
        method = METHODS.get(self.method) or self.losses[self.method] or GRPO
        return method(**self._options(self.method, method))

    def estimates(self) -> Estimator:
        """The estimator with its options; the group's count if none is needed."""
        name = self.estimator or "group"
        return ESTIMATORS[name](**self._options(name, ESTIMATORS[name]))

    def _options(self, name: str, made: type) -> dict[str, Any]:
        keys = {one.name: option_key(name, one) for one in fields(cast(Any, made))}
        given = {one: getattr(self, key, None) for one, key in keys.items()}
        return {one: value for one, value in given.items() if value is not None}


class _Described(Shaped, use_attribute_docstrings=False):
    """Base of classes without source, in which pydantic would look for field docstrings."""


def shaped(
    losses: Mapping[str, type[Method] | None],
    knows: Collection[str],
    without: Collection[str] = (),
    defaults: Mapping[str, Any] | None = None,
) -> type[Shaped]:
    """Make the base of a family's configuration.

    Args:
      losses: methods that are losses of the family, and the method of core whose advantage each
        builds on, and whose options are its own; None for one without advantages.
      knows: fields of `Group` that its samples have beside rewards; it has those methods and
        estimators that need no others.
      without: options that are not its own, such as those of a host.
      defaults: of options, where they differ from core's.
    """
    types: dict[str, Any] = {}
    helps: dict[str, str] = {}
    usual: dict[str, dict[str, Any]] = {}  # of each option: its default for each reader
    of_losses = {name: kind for name, kind in losses.items() if kind}
    for name, kind in (METHODS | of_losses | ESTIMATORS).items():
        hints = get_type_hints(kind)
        for one in fields(cast(Any, kind)):
            key = option_key(name, one)
            if "help" in one.metadata and key not in without:
                types[key], helps[key] = hints[one.name], one.metadata["help"]
                default = (defaults or {}).get(key, one.default)
                usual.setdefault(key, {})[name] = default
    made: dict[str, Any] = {
        key: _optional(kind, helps[key], f"default: {_told(usual[key])}")
        for key, kind in types.items()
    }
    having = {*knows, "p"}
    names = Literal[(*(n for n, kind in METHODS.items() if set(kind.needs) <= having), *losses)]
    about = {key: Shaped.model_fields[key].description or "" for key in Shaped.model_fields}
    made["method"] = (names, pydantic.Field(default="ips-grpo", description=about["method"]))
    known = tuple(name for name, kind in ESTIMATORS.items() if set(kind.needs) <= set(knows))
    made["estimator"] = _optional(Literal[known], about["estimator"], "default: group")
    made["success_above"] = _optional(float, about["success_above"], "default: none")
    base = create_model("Shaped", __base__=_Described, **made)
    base.model_config["use_attribute_docstrings"] = True
    base.losses, base.defaults = losses, defaults or {}
    return base


def _told(usual: Mapping[str, Any]) -> str:
    if len(set(usual.values())) == 1:
        return str(next(iter(usual.values())))
    return ", ".join(f"{default} with {reader}" for reader, default in usual.items())


def _optional(kind: Any, text: str, default: str) -> tuple[Any, Any]:
    """Type and field of an option that may be left out; its help says what its absence means."""
    choices = get_args(kind)
    metavar = f"{{{','.join(choices)}}}" if choices else kind.__name__.upper()
    shown = tyro.conf.arg(metavar=metavar, help_behavior_hint=f"({default})")
    return Annotated[kind | None, shown], pydantic.Field(default=None, description=text)


def option_key(name: str, option: Field[Any]) -> str:
    """Key of an option; a size of an estimator or an own option begins with its owner's name."""
    own = name in ESTIMATORS or option.metadata.get("own", False)
    return f"{name.replace('-', '_')}_{option.name}" if own else option.name


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and value == default  # True is not 1.0


def _looks_at(config: type[Shaped], method: str, field: str) -> bool:
    made = (METHODS | dict(config.losses)).get(method)
    return made is not None and field in (*made.needs, *made.reads)
