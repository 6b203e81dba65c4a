"""What is unpacked goes on as what was packed."""

import numpy as np
import torch

from ipsrl.molecules.generator.weights import pack, unpack

INPUTS_NI = torch.linspace(-1, 1, 12).reshape(4, 3)


class Training:
    """A small network, which learns to answer 1."""

    def __init__(self, seed: int) -> None:
        torch.manual_seed(seed)
        layers = torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1)
        self.model = torch.nn.Sequential(*layers)
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.1)

    def go_on(self, steps: int) -> None:
        for _ in range(steps):
            self.optimiser.zero_grad()
            (self.model(INPUTS_NI) - 1).square().mean().backward()
            self.optimiser.step()

    def packed(self) -> dict[str, np.ndarray]:
        return pack(self.model, self.optimiser)


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name], strict=True)


def test_a_packed_training_goes_on_elsewhere_to_the_same_bytes():
    """Twice from the same arrays, which neither training changes."""
    training = Training(0)
    training.go_on(3)
    arrays = training.packed()
    training.go_on(3)
    for seed in (1, 2):
        other = Training(seed)
        other.go_on(seed)  # it remembers gradients of its own
        unpack(arrays, other.model, other.optimiser)
        assert_same(other.packed(), arrays)
        other.go_on(3)
        assert_same(other.packed(), training.packed())


def test_an_optimiser_forgets_where_nothing_was_remembered():
    beginning = Training(0).packed()
    assert all(name.startswith("model/") for name in beginning)
    training = Training(0)
    training.go_on(3)
    unpack(beginning, training.model, training.optimiser)
    assert_same(training.packed(), beginning)


def test_the_arrays_by_hand():
    """Each parameter has its values, the number of its steps, and the two moments of Adam.

    One step of Adam: moments (1 - .9) g and (1 - .999) g^2 of the gradient g.
    """
    training = Training(0)
    training.go_on(1)
    arrays = training.packed()
    parameters = dict(training.model.named_parameters())
    expected = {f"model/{name}" for name in parameters}
    for i in range(len(parameters)):
        expected |= {f"optimiser/{i}/{key}" for key in ("step", "exp_avg", "exp_avg_sq")}
    assert set(arrays) == expected
    for i, (name, value) in enumerate(parameters.items()):
        g = value.grad.numpy()
        np.testing.assert_array_equal(arrays[f"model/{name}"], value.detach().numpy())
        assert arrays[f"optimiser/{i}/step"] == 1
        np.testing.assert_allclose(arrays[f"optimiser/{i}/exp_avg"], 0.1 * g, rtol=1e-5)  # float32
        np.testing.assert_allclose(arrays[f"optimiser/{i}/exp_avg_sq"], 1e-3 * g**2, rtol=1e-5)
