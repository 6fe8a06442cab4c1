"""What the tests of strategies by layer share: small networks, and the inputs of their layers."""

import pytest


@pytest.fixture
def small_network():
    """Return a function that builds a network with a head of 4 units: images and layers by name."""
    from torch import nn

    def mlp():
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(6, 5),
            nn.Tanh(),
            nn.Linear(5, 7, bias=False),
            nn.Tanh(),
            nn.Linear(7, 4),
        )

    def convolutions():
        return nn.Sequential(
            nn.Conv2d(2, 3, 2, padding=1, stride=2),
            nn.GroupNorm(1, 3),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(12, 4),
        )

    networks = {"mlp": (mlp, (1, 2, 3)), "convolutions": (convolutions, (2, 3, 3))}

    def build(name):
        """Return the module and the shape of an image."""
        module, shape = networks[name]
        return module(), shape

    return build


@pytest.fixture
def three_tasks(make_task, small_network):
    """Return a function that makes tasks of two, three and four classes on one network."""

    def make(network="mlp", count=20):
        module, shape = small_network(network)
        return [
            make_task(module, shape=shape, units=4, classes=classes, index=k, seed=k, count=count)
            for k, classes in enumerate([[0, 1], [1, 2, 3], [0, 1, 2, 3]])
        ]

    return make


@pytest.fixture
def rows_of():
    """Return a function that finds what a layer's matrix is multiplied with, by plain loops.

    Layer -> rows, (examples and positions, inputs [+ 1]); scaled so that the mean eigenvalue of
    ``rows^T rows`` is 1.
    """
    import torch
    from torch import nn
    from torch.func import functional_call
    from torch.nn import functional as F

    def patches(layer, images):
        padded = F.pad(images, (layer.padding[0],) * 4)
        (size, _), (stride, _) = layer.kernel_size, layer.stride
        places = range(0, padded.shape[-1] - size + 1, stride)
        return torch.stack(
            [
                image[:, y : y + size, x : x + size].flatten()
                for image in padded
                for y in places
                for x in places
            ]
        )

    def rows(task, parameters):
        found, values = {}, task.examples.images
        for name, layer in task.network.module.named_children():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                own = patches(layer, values) if isinstance(layer, nn.Conv2d) else values
                if layer.bias is not None:
                    own = torch.cat([own, own.new_ones(len(own), 1)], dim=1)
                found[name] = own * (own.shape[1] / own.square().sum()).sqrt()
            weights = {
                parameter: parameters[f"{name}.{parameter}"]
                for parameter, _ in layer.named_parameters()
            }
            values = functional_call(layer, weights, (values,))
        return found

    return rows


@pytest.fixture
def matrices_of():
    """Return a function that gives every layer's matrix, the bias as its last column."""
    import torch

    def matrices(parameters, layers):
        found = {}
        for name in layers:
            weight, bias = parameters[f"{name}.weight"].flatten(1), parameters.get(f"{name}.bias")
            found[name] = weight if bias is None else torch.cat([weight, bias[:, None]], dim=1)
        return found

    return matrices


@pytest.fixture(scope="session")
def plain_learner():
    """Return a class: one learner of the tiny sequence, trained by a plain loop.

    Its ``descend`` is stochastic gradient descent with momentum, written without the engine. Tests
    of strategies put a paper's equations between its steps.
    """
    import torch
    from torch.nn import functional as F

    from driftboard.suite.checks.tiny import TRAINING, tiny_cohort

    class PlainLearner:
        total = 4  # steps of a task

        def __init__(self, network, seed=3):
            self.cohort = tiny_cohort(network, (seed,))
            self.network = self.cohort.network
            self.initial = {name: value[0] for name, value in self.cohort.initial.items()}
            self.head = self.network.blocks[-1].parameters

        def batches(self, index):
            """Return the images' positions of every step."""
            count, size = self.cohort.train[index].count, TRAINING.batch_size
            order, found = self.cohort.batch_orders(index, count)[0], []
            while len(found) < self.total:
                drawn = order.permutation(count)
                found += [drawn[at : at + size] for at in range(0, count - size + 1, size)]
            return found[: self.total]

        def data(self, index, rows=slice(None)):
            """Return images, labels and allowed units."""
            data = self.cohort.train[index]
            images = self.cohort.scaling(data.images[0], self.cohort.dtype)
            return images[rows], data.labels[0][rows], data.active[0][rows]

        def loss(self, theta, images, labels, allowed):
            logits = self.network.logits(theta, images).masked_fill(~allowed, -1e300)
            return F.cross_entropy(logits, labels)

        def gradient(self, theta, index, rows, loss=None):
            leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
            value = (loss or self.loss)(leaves, *self.data(index, rows))
            slopes = torch.autograd.grad(value, list(leaves.values()))
            return dict(zip(leaves, slopes, strict=True))

        def descend(self, theta, index, correct=None, after=None, rates=None, loss=None):
            """Return where a task ends.

            ``correct(step, rows, gradient, theta)`` returns a gradient, ``after(step, gradient,
            before, theta)`` the parameters; ``rates`` are factors of the learning rate by name.
            """
            speed = {name: torch.zeros_like(value) for name, value in theta.items()}
            for step, rows in enumerate(self.batches(index)):
                raw = self.gradient(theta, index, rows, loss and loss(step))
                slopes = correct(step, rows, raw, theta) if correct else raw
                before, theta = theta, {}
                for name, value in before.items():
                    speed[name] = TRAINING.momentum * speed[name] + slopes[name]
                    rate = TRAINING.learning_rate * (rates or {}).get(name, 1.0)
                    theta[name] = value - rate * speed[name]
                if after:
                    theta = after(step, raw, before, theta)
            return theta

    return PlainLearner


@pytest.fixture(scope="session")
def solutions_of():
    """Return a function that trains learner 3 with the engine: its solution after every task.

    Both modes are compared on the way, the one of them beside another learner.
    """
    import torch

    from driftboard.suite.checks.target import learn
    from driftboard.suite.checks.tiny import tiny_cohort

    def solutions(strategy, network):
        alone = learn(tiny_cohort(network, (3,)), strategy, "loop")
        together = learn(tiny_cohort(network, (4, 3)), strategy, "vmap")
        for one, other in zip(alone, together, strict=True):
            second = {name: value[1:] for name, value in other.parameters.items()}
            torch.testing.assert_close(second, one.parameters, rtol=1e-9, atol=1e-11)
        return [{name: value[0] for name, value in end.parameters.items()} for end in alone]

    return solutions


@pytest.fixture
def plain_tasks():
    """Return a function that gives the tasks of a tiny cohort's only learner to plain loops."""
    from driftboard.suite.checks.tiny import TRAINING

    class PlainTask:
        """A task of one learner, and its training written out step by step."""

        def __init__(self, cohort, index):
            import torch

            data = cohort.train[index]
            self.index, self.network = index, cohort.network
            self.bytes, self.labels = data.images[0], data.labels[0]
            self.images = self.scaled(self.bytes)
            seen = [one.active[0, 0] for one in cohort.train[: index + 1]]
            units = torch.stack(seen).any(0) if cohort.class_incremental else seen[-1]
            self.own, self.allowed = seen[-1], units.expand(data.count, -1)
            order_of_epoch, size = cohort.batch_orders(index, data.count)[0], TRAINING.batch_size
            drawn = []
            while len(drawn) < TRAINING.minimum_steps:
                order = order_of_epoch.permutation(data.count)
                drawn += [order[at : at + size] for at in range(0, data.count - size + 1, size)]
            self.batches = drawn[: max(TRAINING.minimum_steps, data.count // size)]
            random = cohort.strategy_noise(index)[0]
            random.random(data.count)
            self._key = torch.tensor(int(random.integers(2**63)))

        @staticmethod
        def scaled(images):
            """Return float images of bytes, scaled by the numbers of the tiny sequence."""
            import torch

            deviation = torch.tensor(0.3, dtype=torch.float32).item()
            return (images.double() / 255.0 - 0.5) / deviation

        def integers(self, step, name, below, count):
            """Return what a hook draws in a step; step -2 is the end, -1 the beginning."""
            import torch

            from driftboard.strategies import random_numbers

            moment = torch.tensor(-1 if step == -2 else step + 1)
            one = random_numbers.uniform(self._key, moment, name, (count,), torch.float64)
            return [int(value * below) for value in one.tolist()]

        def cross_entropy(self, theta, images, labels, allowed):
            """Return the mean cross-entropy over the allowed units."""
            import torch

            logits = self.network.logits(theta, images).masked_fill(~allowed, -1e300)
            return torch.nn.functional.cross_entropy(logits, labels)

        def trained(self, theta, slope):
            """Return where SGD with momentum ends; ``slope(theta, rows, step)`` is a gradient."""
            import torch

            theta = {name: value.clone() for name, value in theta.items()}
            speed = {name: torch.zeros_like(value) for name, value in theta.items()}
            for step, rows in enumerate(self.batches):
                for name, value in slope(theta, rows, step).items():
                    speed[name] = TRAINING.momentum * speed[name] + value
                theta = {n: v - TRAINING.learning_rate * speed[n] for n, v in theta.items()}
            return theta

        @staticmethod
        def gradient(loss, theta):
            """Return the gradient of ``loss(theta)``."""
            import torch

            leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
            slopes = torch.autograd.grad(loss(leaves), list(leaves.values()))
            return dict(zip(leaves, slopes, strict=True))

    def make(cohort):
        """Return the tasks and the initial parameters."""
        tasks = [PlainTask(cohort, index) for index in range(len(cohort.train))]
        return tasks, {name: value[0] for name, value in cohort.initial.items()}

    return make
