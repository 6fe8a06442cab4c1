"""The buffer by value: which examples stay, which are drawn, and how they may answer."""

from dataclasses import replace

import pytest
import torch
from torch.func import vmap

from driftboard.strategies.base import Scaling
from driftboard.strategies.buffer import balanced, drawn, examples_of, of_task, reservoir
from driftboard.suite.checks.tiny import example_task


def offered(labels, priorities, units=4, first=0):
    """Return a buffer whose images are numbers from ``first`` on."""
    count = len(labels)
    numbers = torch.arange(first, first + count)
    return {
        "images": numbers.to(torch.uint8)[:, None, None, None],
        "labels": torch.tensor(labels),
        "allowed": torch.ones(count, units, dtype=torch.bool),
        "priorities": torch.tensor(priorities),
        "logits": numbers.double()[:, None].expand(count, units),
    }


def numbers(buffer):
    return buffer["images"].flatten().tolist()


def test_the_lowest_priorities_of_all_that_were_offered_stay():
    kept = reservoir({}, offered([0, 0, 1], [50, 10, 30]), 4)
    assert numbers(kept) == [1, 2, 0]
    kept = reservoir(kept, offered([1, 2, 2], [20, 60, 40], first=3), 4)
    assert numbers(kept) == [1, 3, 2, 5]
    assert kept["labels"].tolist() == [0, 1, 1, 2]
    assert kept["priorities"].tolist() == [10, 20, 30, 40]
    assert kept["logits"][:, 0].tolist() == [1.0, 3.0, 2.0, 5.0]
    assert numbers(reservoir({}, offered([0], [5]), 1)) == [0]


def test_of_all_examples_ever_seen_each_is_stored_equally_often():
    """Three tasks of 24 examples through 10 places, for 3000 learners that differ by their key."""
    tasks = [example_task(index) for index in range(3)]

    def stored(key):
        buffer = {}
        for number, task in enumerate(tasks):
            own = replace(task, key=key + number)
            count = len(task.examples.labels)
            where = torch.arange(24 * number, 24 * number + count)
            buffer = reservoir(buffer, of_task(own, where=where), 10)
        return buffer["where"]

    learners = 3000
    places = vmap(stored)(1000 * torch.arange(learners))

    assert places.shape == (learners, 10)
    assert all(len(set(row)) == 10 for row in places.tolist())
    counts = torch.bincount(places.flatten(), minlength=72).double()
    share = 10 / 72
    deviation = (learners * share * (1 - share)) ** 0.5
    assert ((counts - learners * share).abs() < 4.5 * deviation).all()
    # Pairs too: one example is stored no more often together with its neighbour than with others.
    both = ((places == 0).any(1) & (places == 1).any(1)).sum().item()
    pair = share * 9 / 71
    assert abs(both - learners * pair) < 4.5 * (learners * pair) ** 0.5


def greedy_counts(labels, capacity):
    """The sampler of GDumb (Prabhu et al. 2020, Algorithm 1): how many of each class stay."""
    counts = {}
    for label in labels:
        counts.setdefault(label, 0)
        if counts[label] < capacity / len(counts):
            if sum(counts.values()) >= capacity:
                counts[max(counts, key=counts.get)] -= 1
            counts[label] += 1
    return counts


@pytest.mark.parametrize("capacity", [7, 12, 20])
def test_the_balanced_choice_has_the_counts_of_the_papers_sampler(capacity):
    random = torch.Generator().manual_seed(capacity)
    buffer, stream = {}, []
    for classes in ([0, 1], [2], [3, 4]):
        labels = [label for label in classes for _ in range(30)]
        order = torch.randperm(len(labels), generator=random).tolist()
        labels = [labels[place] for place in order]
        priorities = torch.randperm(1000, generator=random)[: len(labels)].tolist()
        buffer = balanced(buffer, offered(labels, priorities, 5, first=len(stream)), capacity)
        stream += labels
        found = torch.bincount(buffer["labels"], minlength=5)[: classes[-1] + 1]
        expected = greedy_counts(stream, capacity)
        assert found.sum() == sum(expected.values()) == capacity
        # Who has one more is a matter of order there and of chance here.
        assert sorted(found.tolist()) == sorted(expected.values())


def test_of_every_class_the_lowest_priorities_stay_as_many_as_of_others():
    labels = [0, 0, 0, 0, 1, 1, 1, 2]
    priorities = [40, 10, 30, 20, 7, 9, 8, 99]
    for capacity, expected in ((3, {1, 4, 7}), (5, {1, 3, 4, 6, 7}), (6, {1, 3, 4, 5, 6, 7})):
        assert set(numbers(balanced({}, offered(labels, priorities), capacity))) == expected
    kept = balanced({}, offered(labels, priorities), 6)
    kept = balanced(kept, offered([3, 3], [1, 2], first=8), 4)
    assert set(numbers(kept)) == {1, 4, 7, 8}
    assert len(balanced({}, offered(labels, priorities), 100)["labels"]) == 8


def test_rows_are_drawn_uniformly_and_anew_in_every_step():
    buffer = offered([0, 1, 2, 3, 0], [1, 2, 3, 4, 5])
    draws = []
    for step in range(400):
        task = example_task(step=step)
        one, again, other = (drawn(task, buffer, 20, name) for name in ("a", "a", "b"))
        assert numbers(one) == numbers(again)
        assert numbers(one) != numbers(other)
        assert one["logits"][:, 0].tolist() == numbers(one)
        draws += numbers(one)
    counts = torch.bincount(torch.tensor(draws), minlength=5)
    assert ((counts - 1600).abs() < 4.5 * (8000 * 0.2 * 0.8) ** 0.5).all()


def test_stored_images_come_back_bit_by_bit():
    task = example_task()
    found = examples_of(task, of_task(task))
    torch.testing.assert_close(found.images, task.examples.images, rtol=0, atol=0)
    assert found.labels is task.examples.labels
    assert of_task(task)["images"].dtype == torch.uint8

    bytes_ = torch.arange(256, dtype=torch.uint8).reshape(16, 1, 4, 4)
    scaling = Scaling(torch.full((1, 1, 1), 0.2860), torch.full((1, 1, 1), 0.3530))
    images = scaling(bytes_)
    examples = replace(task.examples, images=images)
    single = replace(task, examples=examples, scaling=scaling)
    found = examples_of(single, {"images": bytes_, "labels": None, "allowed": task.classes[None]})
    assert found.images.dtype == torch.float32
    torch.testing.assert_close(found.images, images, rtol=0, atol=0)


def test_stored_examples_answer_with_their_units_or_with_all_so_far():
    first, second = example_task(0), example_task(1)
    stored = of_task(first)
    assert (examples_of(second, stored).allowed == first.classes).all()

    seen = first.classes | second.classes
    examples = replace(second.examples, allowed=seen.expand(24, -1))
    joint = replace(second, examples=examples, answers=seen.nonzero().flatten())
    assert seen.sum() == 4
    assert (examples_of(joint, stored).allowed == seen).all()


def test_without_images_nothing_can_be_stored():
    task = replace(example_task(), scaling=None)
    with pytest.raises(ValueError, match="only images can be stored"):
        of_task(task)
    with pytest.raises(ValueError, match="only images can be stored"):
        examples_of(task, {})
