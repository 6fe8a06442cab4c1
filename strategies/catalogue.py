"""The strategies that come with the package."""

from driftboard.strategies.a_gem import AGem
from driftboard.strategies.adam import Adam
from driftboard.strategies.algorithm_1 import AlgorithmOne
from driftboard.strategies.anchors import L2
from driftboard.strategies.base import Strategy
from driftboard.strategies.bounds import FrozenReset, Joint, Noop, Scratch
from driftboard.strategies.class_means import Ncm, Slda
from driftboard.strategies.cofima import Cofima
from driftboard.strategies.constrained import Constrained
from driftboard.strategies.derpp import Derpp
from driftboard.strategies.ema import Ema
from driftboard.strategies.er import Er
from driftboard.strategies.ewc import Ewc
from driftboard.strategies.ewc_implicit import EwcImplicit
from driftboard.strategies.frozen import Frozen
from driftboard.strategies.gdumb import GDumb
from driftboard.strategies.hybrid import Hybrid
from driftboard.strategies.hybrid_diagonal import HybridDiagonal
from driftboard.strategies.hybrid_scalar import HybridScalar
from driftboard.strategies.initialized import Initialized
from driftboard.strategies.layer_rates import Discriminative, SlowBackbone, Surgical
from driftboard.strategies.lp_ft import LpFt
from driftboard.strategies.lwf import Lwf
from driftboard.strategies.magnitude import Ball, Fraction
from driftboard.strategies.mas import MemoryAwareSynapses
from driftboard.strategies.merging import MergeInputs
from driftboard.strategies.packnet import PackNet
from driftboard.strategies.projections import Gpm, SoftInputs
from driftboard.strategies.sam import Sam
from driftboard.strategies.sgd import Sgd
from driftboard.strategies.shrink_perturb import ShrinkPerturb
from driftboard.strategies.si import SynapticIntelligence
from driftboard.strategies.stable_sgd import StableSgd
from driftboard.strategies.wise_ft import WiseFt

BUILTIN: dict[str, Strategy] = {
    "sgd": Sgd(),
    "ewc": Ewc(),
    "ewc-implicit": EwcImplicit(),
    "frozen": Frozen(),
    "initialized": Initialized(),
    "hybrid": Hybrid(),
    "hybrid-diagonal": HybridDiagonal(),
    "hybrid-scalar": HybridScalar(),
    "soft-inputs": SoftInputs(),
    "merge-inputs": MergeInputs(),
    "gpm": Gpm(),
    "algorithm-1": AlgorithmOne(),
    "constrained-0.1": Constrained(share=0.1),
    "constrained-0.3": Constrained(share=0.3),
    "constrained-first-0.1": Constrained(first_block=0.1),
    "fraction-0.6": Fraction(fraction=0.6, share=0.2),
    "l2": L2(),
    "si": SynapticIntelligence(),
    "mas": MemoryAwareSynapses(),
    "lwf": Lwf(),
    "packnet": PackNet(),
    "slda": Slda(),
    "wise-ft": WiseFt(),
    "cofima": Cofima(),
    "stable-sgd": StableSgd(),
    "slow-backbone": SlowBackbone(),
    "lp-ft": LpFt(),
    "sam": Sam(),
    "er": Er(),
    "er-500": Er(capacity=500),
    "derpp": Derpp(),
    "a-gem": AGem(),
    "gdumb": GDumb(),
    "noop": Noop(),
    "scratch": Scratch(),
    "frozen-reset": FrozenReset(),
    "joint": Joint(),
}
"""Name on the board -> strategy with its settings, in the board's order."""

FURTHER: dict[str, Strategy] = {
    "algorithm-1-initial": AlgorithmOne(threshold=0.5, anchor="initial"),
    "constrained": Constrained(share=0.1),
    "fraction": Fraction(),
    "ball": Ball(),
    "ema": Ema(),
    "discriminative": Discriminative(),
    "surgical-first": Surgical(block=0),
    "surgical-last": Surgical(block=-1),
    "shrink-perturb": ShrinkPerturb(),
    "adam": Adam(),
    "ncm": Ncm(),
}
"""Known by name like those above, but run only when named."""

FAMILIES: dict[str, tuple[str, ...]] = {
    "The paper: frozen, initialized, hybrid": (
        *("frozen", "initialized", "algorithm-1", "algorithm-1-initial"),
        *("hybrid", "hybrid-diagonal", "hybrid-scalar"),
    ),
    "Step size": (
        *("sgd", "stable-sgd", "slow-backbone", "discriminative", "lp-ft"),
        *("surgical-first", "surgical-last"),
        *("constrained", "constrained-0.1", "constrained-0.3", "constrained-first-0.1"),
    ),
    "Size of the finished update": (
        *("fraction", "fraction-0.6", "ball", "merge-inputs", "wise-ft", "ema", "cofima"),
    ),
    "Anchors: a pull towards earlier solutions": ("l2", "ewc", "ewc-implicit", "si", "mas"),
    "Outputs of earlier networks": ("lwf",),
    "Directions": ("gpm", "soft-inputs"),
    "Weights of a task's own": ("packnet",),
    "Class means on a frozen body": ("slda", "ncm"),
    "Stored examples": ("er", "er-500", "derpp", "a-gem", "gdumb"),
    "Optimisers and plasticity": ("sam", "adam", "shrink-perturb"),
    "Bounds, not ranked": ("noop", "scratch", "frozen-reset", "joint"),
}
"""What the strategies of a family have in common -> their names; each stands in one."""
