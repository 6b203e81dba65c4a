"""A wrong configuration is refused, naming file, key and nearest key (promise 17)."""

import json

import pytest

from ipsrl.config import shipped_configs
from ipsrl.errors import ConfigError
from ipsrl.molecules import ComponentConfig, Config, DockingConfig, PretrainConfig, TransformConfig

MODELS = [Config, ComponentConfig, TransformConfig, PretrainConfig, DockingConfig]
KEYS = [(model, key) for model in MODELS for key in model.model_fields]
NEEDED = {
    ComponentConfig: {"kind": "qed"},
    PretrainConfig: {"smiles": "x.smi"},
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


@pytest.mark.parametrize("wrong", [b"bytes", {"a": object()}, float("nan"), -1e300])
@pytest.mark.parametrize(("model", "key"), KEYS, ids=ids)
def test_a_value_of_another_kind_is_refused(model, key, wrong):
    if wrong == -1e300 and key in ("low", "high"):
        pytest.skip("which is a number that these may be")
    with pytest.raises(ConfigError, match=key):
        model(**NEEDED.get(model, {}) | {key: wrong})


def test_the_dump_of_a_configuration_loads_again(tmp_path):
    for path in shipped_configs("molecules/keys"):
        config = Config.load(path)
        (tmp_path / "again.toml").write_text(config.dump())
        assert Config.load(tmp_path / "again.toml") == config
    assert len(shipped_configs("molecules/keys")) == 2


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
