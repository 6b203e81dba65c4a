"""The model that takes last steps of templates."""

from ipsrl.molecules import TemplateModel
from ipsrl.molecules.synthesis.templates import templates


def test_another_library_is_another_model():
    assert TemplateModel(templates()[:3]).identity != TemplateModel().identity
