"""A wrong configuration is refused, naming file, key and nearest key (promise 17)."""

import json

import pytest

from ipsrl.config import shipped_configs
from ipsrl.errors import ConfigError
from ipsrl.molecules import (
    ComponentConfig,
    Config,
    DockingConfig,
    PretrainConfig,
    QsarConfig,
    SynthesisConfig,
    TransformConfig,
)

MODELS = [Config, ComponentConfig, TransformConfig, PretrainConfig, DockingConfig, QsarConfig]
KEYS = [(model, key) for model in MODELS for key in model.model_fields]
NEEDED = {
    ComponentConfig: {"kind": "qed"},
    PretrainConfig: {"smiles": "x.smi"},
    QsarConfig: {"model": "x.skops"},
    DockingConfig: {"receptor": "x.pdbqt", "center": [0.0, 0.0, 0.0]},
}


def ids(value) -> str:
    return value if isinstance(value, str) else value.__name__


@pytest.mark.parametrize(("model", "key"), KEYS, ids=ids)
def test_a_typo_is_an_unknown_key(model, key, tmp_path):
    text = (
        "".join(f"{k} = {json.dumps(v)}\n" for k, v in NEEDED.get(model, {}).items())
        + f"{key}_ = 1\n"
    )
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=rf"mine.toml: unknown key '{key}_'; .* is '{key}'"):
        model.load(tmp_path / "mine.toml")


@pytest.mark.parametrize(("model", "key"), KEYS, ids=ids)
def test_a_value_of_another_kind_is_refused(model, key):
    far = [] if key in ("low", "high", "success_above") else [-1e300]  # which these may be
    for wrong in (b"bytes", {"a": object()}, float("nan"), *far):
        with pytest.raises(ConfigError, match=key):
            model(**NEEDED.get(model, {}) | {key: wrong})


def test_the_dump_of_a_configuration_loads_again(tmp_path):
    for path in shipped_configs("molecules/keys"):
        config = Config.load(path)
        (tmp_path / "again.toml").write_text(config.dump())
        assert Config.load(tmp_path / "again.toml") == config
    assert len(shipped_configs("molecules/keys")) == 3


def test_columns_have_names_of_their_own():
    two = [ComponentConfig(kind="qed"), ComponentConfig(kind="qed")]
    with pytest.raises(ConfigError, match="column 'qed' is taken"):
        Config(components=two)
    with pytest.raises(ConfigError, match="column 'smiles' is taken"):
        Config(components=[ComponentConfig(kind="qed", name="smiles")])
    with pytest.raises(ConfigError, match="components"):
        Config(components=[])


def test_the_name_of_a_component_is_fit_for_a_spreadsheet_and_for_a_file():
    for name in ("", "a", "sp3_share", "Vina-1.2", "_x", "3D", "größe"):
        assert ComponentConfig(kind="qed", name=name).column == (name or "qed")
    hostile = (
        "=1+1",
        "+a",
        "-a",
        "@a",
        "a b",
        "a,b",
        "../a",
        "a/b",
        "a\n",
        "\ta",
        ".a",
        "a\0",
        '"',
        "a:b",
    )
    for name in hostile:
        with pytest.raises(ConfigError, match="name = .* (letters, digits|is not text)"):
            ComponentConfig(kind="qed", name=name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "alert"}, "needs smarts. Give it"),
        ({"kind": "similarity"}, "needs smiles"),
        ({"kind": "qed", "smarts": ["C"]}, "Leave smarts out"),
        ({"kind": "program"}, "needs command"),
        ({"kind": "qde"}, "kind"),
        ({"kind": "qed", "weight": 0.0}, "weight"),
        ({"kind": "qed", "timeout": 5.0}, "timeout has no effect"),
        ({"kind": "qed", "radius": 3}, "radius has no effect on 'qed'"),
        ({"kind": "alert", "smarts": ["C"], "counts": True}, "counts has no effect on 'alert'"),
        ({"kind": "similarity", "smiles": ["C"], "radius": -1}, "radius"),
        ({"kind": "alert", "smarts": ["C", "c1"]}, "smarts: 'c1' is not a SMARTS"),
        ({"kind": "similarity", "smiles": ["*CCO"]}, r"'\*CCO' is not a molecule: it has an att"),
    ],
)
def test_components_that_make_no_sense(config, message):
    with pytest.raises(ConfigError, match=message):
        ComponentConfig(**config)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "sigmoid", "low": 1.0}, "needs low and high"),
        ({"kind": "step"}, "needs low, high or both"),
        ({"low": 1.0}, "no effect with identity"),
        ({"kind": "sigmoid", "low": 2.0, "high": 1.0}, "is not below"),
        ({"kind": "sigmiod"}, "kind"),
        ({"kind": "sigmoid", "low": 1.0, "high": 2.0, "k_high": 1.0}, "no effect with sigmoid"),
        ({"divisor": 2.0}, "no effect with identity"),
        ({"kind": "double-sigmoid", "low": 1.0, "high": 2.0, "divisor": 0.0}, "divisor"),
        ({"kind": "step", "low": float("nan")}, "low"),
    ],
)
def test_transforms_that_make_no_sense(config, message):
    with pytest.raises(ConfigError, match=message):
        TransformConfig(**config)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "synthesis"}, "needs synthesis"),
        ({"kind": "qsar"}, "needs qsar"),
        ({"kind": "qsar", "qsar": {"model": "x.onnx"}, "radius": 3}, "radius has no effect"),
        ({"kind": "qed", "synthesis": SynthesisConfig()}, "needs no data"),
        ({"kind": "synthesis"}, "if only as synthesis = {}"),
        ({"kind": "synthesis", "synthesis": {"expansion": 3}}, "expansions"),
        ({"kind": "synthesis", "synthesis": {"rule": "amide"}}, "rule"),
        ({"kind": "synthesis", "synthesis": {"expansions": 0}}, "expansions"),
    ],
)
def test_a_wrong_configuration_is_refused(values, says):
    with pytest.raises(ConfigError, match=says):
        ComponentConfig(**values)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"decorate": "c1ccccc1", "augmentations": 0}, "decorate: .* where it may be substituted"),
        ({"decorate": "*CCO", "augmentations": 0}, r"decorate: .* Write C\(\*\)CO"),
        ({"decorate": "CCO*"}, "Set augmentations = 0"),
        ({"decorate": "CCO*", "augmentations": 0, "inception": "x.smi"}, "leave inception out"),
    ],
)
def test_fragments_that_cannot_be_decorated(values, says):
    with pytest.raises(ConfigError, match=says):
        Config(**values)


def test_an_option_without_effect_may_have_its_default():
    """It is refused by its value, and the value of the field is the one that counts."""
    fields = ComponentConfig.model_fields
    for key in ("retries", "timeout"):
        ComponentConfig(kind="qed", **{key: fields[key].default})
        with pytest.raises(ConfigError, match=f"{key} ha.* no effect"):
            ComponentConfig(kind="qed", **{key: fields[key].default + 1})
