import pytest
from helpers import Namespace, namespace


@pytest.fixture(params=["numpy", "torch", "jax"])
def xp(request) -> Namespace:
    """The same test on each array library that core runs on."""
    return namespace(request.param)


@pytest.fixture(params=["torch", "jax"])
def grad_xp(request) -> Namespace:
    """The libraries that differentiate."""
    return namespace(request.param)
