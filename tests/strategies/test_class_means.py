"""Classifiers by class means by value: one feature after another, and by search."""

from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.covariance import OAS
from torch import nn

from driftboard.strategies.base import Query
from driftboard.strategies.class_means import Ncm, Slda
from driftboard.suite.checks.target import learn
from driftboard.suite.checks.tiny import UNITS, tiny_cohort
from driftboard.suite.training import engine

EXACT = {"rtol": 1e-8, "atol": 1e-10}
SEED = 3
CASES = pytest.mark.parametrize(
    ("network", "mode", "incremental"),
    [("MLP", "vmap", True), ("MLP", "loop", False), ("convolutions", "loop", True)],
)


def body(network, parameters, images):
    """Return features, by the layers before the head."""
    layers = nn.Sequential(OrderedDict(list(network.module.named_children())[:-1]))
    own = {name: value for name, value in parameters.items() if not name.startswith("head")}
    return torch.func.functional_call(layers, own, (images,)).numpy()


class Streaming:
    """Hayes and Kanan 2020, equations 1 to 4, after one feature at a time."""

    def __init__(self, size):
        self.means, self.counts = np.zeros((UNITS, size)), np.zeros(UNITS)
        self.covariance, self.number = np.zeros((size, size)), 0

    def begin(self, features, labels):
        for unit in set(labels.tolist()):
            self.counts[unit] = (labels == unit).sum()
            self.means[unit] = features[labels == unit].mean(0)
        centred = features - self.means[labels]
        self.covariance = OAS(assume_centered=True).fit(centred).covariance_
        self.number = len(labels)

    def add(self, feature, label):
        away = feature - self.means[label]
        delta = self.number * np.outer(away, away) / (self.number + 1)
        self.covariance = (self.number * self.covariance + delta) / (self.number + 1)
        self.means[label] += away / (self.counts[label] + 1)
        self.counts[label] += 1
        self.number += 1

    def logits(self, features, shrinkage):
        unit = np.eye(len(self.covariance))
        inverse = np.linalg.pinv((1 - shrinkage) * self.covariance + shrinkage * unit)
        return np.stack([features @ inverse @ m - 0.5 * m @ inverse @ m for m in self.means], 1)


def answers(cohort, strategy, end, images, allowed):
    parameters, memory = ({n: v[0] for n, v in one.items()} for one in (end.parameters, end.memory))
    return strategy.answer(Query(cohort.network, images, allowed, None), parameters, memory)


def trained(network, mode, incremental, strategy):
    seeds = (SEED, SEED + 1) if mode == "vmap" else (SEED,)
    cohort = replace(tiny_cohort(network, seeds), class_incremental=incremental)
    return cohort, learn(cohort, strategy, mode)


@CASES
def test_slda_by_value(plain_tasks, network, mode, incremental):
    strategy = Slda(shrinkage=0.01)
    cohort, ends = trained(network, mode, incremental, strategy)
    tasks, _ = plain_tasks(tiny_cohort(network, (SEED,)))
    parameters = {name: value[0] for name, value in ends[0].parameters.items()}
    size = body(cohort.network, parameters, tasks[0].images).shape[1]
    stream = Streaming(size)
    for task, end in zip(tasks, ends, strict=True):
        found = body(cohort.network, parameters, task.images)
        if task.index == 0:
            stream.begin(found, task.labels.numpy())
        else:
            for feature, label in zip(found, task.labels.tolist(), strict=True):
                stream.add(feature, label)
        memory = {name: value[0].numpy() for name, value in end.memory.items()}
        np.testing.assert_allclose(memory["counts"], stream.counts)
        np.testing.assert_allclose(memory["means"], stream.means, **EXACT)
        np.testing.assert_allclose(memory["covariance"], stream.covariance, **EXACT)
        seen = stream.counts > 0
        logits = answers(cohort, strategy, end, task.images, task.allowed).numpy()
        expected = stream.logits(found, 0.01)
        np.testing.assert_allclose(logits[:, seen], expected[:, seen], rtol=1e-7, atol=1e-8)
        assert (logits[:, ~seen] < -1e300).all()


@CASES
def test_ncm_answers_with_the_nearest_mean(plain_tasks, network, mode, incremental):
    strategy = Ncm()
    cohort, ends = trained(network, mode, incremental, strategy)
    tasks, _ = plain_tasks(tiny_cohort(network, (SEED,)))
    parameters = {name: value[0] for name, value in ends[0].parameters.items()}
    everything = [(body(cohort.network, parameters, one.images), one.labels) for one in tasks]
    for number, end in enumerate(ends, start=1):
        features = np.concatenate([one for one, _ in everything[:number]])
        labels = np.concatenate([own.numpy() for _, own in everything[:number]])
        classes = sorted(set(labels.tolist()))
        means = np.stack([features[labels == unit].mean(0) for unit in classes])
        distances = np.square(features[:, None] - means).sum(2)
        images = torch.cat([one.images for one in tasks[:number]])
        anything = torch.ones(len(images), UNITS, dtype=torch.bool)
        logits = answers(cohort, strategy, end, images, anything).numpy()
        assert (logits.argmax(1) == np.array(classes)[distances.argmin(1)]).all()
        np.testing.assert_allclose(
            -2 * logits[:, classes] + np.square(features).sum(1, keepdims=True), distances, **EXACT
        )


@pytest.mark.parametrize("strategy", [Slda(), Ncm()], ids=lambda one: one.name)
def test_the_body_stays_as_the_first_task_left_it(strategy):
    first, *later = learn(tiny_cohort("MLP", (0,)), strategy, "loop")
    for end in later:
        torch.testing.assert_close(end.parameters, first.parameters, rtol=0, atol=0)
        assert not end.share.any()


@pytest.mark.parametrize("strategy", [Slda(), Ncm()], ids=lambda one: one.name)
def test_tests_are_answered_by_the_means(strategy):
    """The engine's counts are those of the answers, of the units that the sequence allows."""
    cohort = replace(tiny_cohort("MLP", (SEED,)), class_incremental=True)
    outcome = engine.run(cohort, strategy, "loop")
    end = learn(cohort, strategy, "loop")[-1]
    for index, data in enumerate(cohort.test):
        images = cohort.scaling(data.images[0], torch.float64)
        allowed = cohort.allowed(data, 3)[0]
        logits = answers(cohort, strategy, end, images, allowed)
        right = (logits.masked_fill(~allowed, -torch.inf).argmax(1) == data.labels[0]).sum()
        assert outcome.correct[-1][0, index] == right


def test_with_all_shrinkage_slda_is_ncm():
    cohort = tiny_cohort("MLP", (SEED,))
    one, other = (learn(cohort, strategy, "loop")[-1] for strategy in (Slda(shrinkage=1.0), Ncm()))
    for name in ("counts", "means", "weight", "bias"):
        torch.testing.assert_close(one.memory[name], other.memory[name], **EXACT)


def test_a_class_that_returns_goes_on_with_its_mean():
    """The same task twice: its means are the same, and its counts are doubled."""
    cohort = tiny_cohort("MLP", (SEED,))
    twice = replace(
        cohort,
        train=[cohort.train[0]] * 2,
        test=[cohort.test[0]] * 2,
        classes=[cohort.classes[0]] * 2,
    )
    for strategy in (Slda(), Ncm()):
        once, again = learn(twice, strategy, "loop")
        torch.testing.assert_close(again.memory["means"], once.memory["means"], **EXACT)
        torch.testing.assert_close(again.memory["counts"], 2 * once.memory["counts"])


@pytest.mark.parametrize("shrinkage", [0.0, 1.1, float("nan")])
def test_settings_out_of_range_are_refused(shrinkage):
    with pytest.raises(ValueError, match="shrinkage"):
        Slda(shrinkage=shrinkage)
