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
