"""The same tasks for a pretrained network and for one that starts from nothing.

Weights and images are made by `pretrained.py`, with the data folder DATA:

    driftboard run --data DATA --sequence-file tests/studies/pretrained_sequences.py --seeds 3 \\
        --strategy sgd --strategy frozen --strategy initialized --strategy hybrid \\
        --strategy slow-backbone --strategy lp-ft --strategy slda --strategy fraction-0.6 \\
        --strategy wise-ft --out OUT

The learning rates are to be tried on tuning seeds first: `--tuning` with `sgd`, `sgd,rate=0.3` and
`sgd,rate=3`. The network was pretrained on ImageNet, from which Tiny ImageNet was taken, so it has
seen these classes, and perhaps these images, in another size.
"""

from dataclasses import replace

from driftboard.suite.protocol import Training
from driftboard.suite.sequences import Split, TaskSequence, Weights

pretrained = TaskSequence(
    name="tiny-pretrained",
    description="Five classes of Tiny ImageNet a task, for a network pretrained on ImageNet.",
    source="folder:tiny-imagenet-20",
    scenario=Split(tasks=4),
    network="timm:tf_efficientnet_lite0",
    weights=Weights(
        "tf-efficientnet-lite0.safetensors",
        sha256="2b4a5f7e9a1870e2c41efd811c5b04f7e5843b32900a338e3f181204a324f9c6",
    ),
    train_per_class=40,
    test_per_class=15,
    training=Training(epochs=5, batch_size=16, learning_rate=0.0003),
)
from_scratch = replace(
    pretrained,
    name="tiny-scratch",
    description="The same tasks for the same network without weights, with group norms.",
    weights=None,
    training=Training(epochs=5, batch_size=16, learning_rate=0.02),
)
