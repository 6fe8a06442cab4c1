"""The name of a device in records, from texts as Linux writes them."""

import pytest
import torch

from driftboard.suite.package import package_digest
from driftboard.suite.training import record_builder

CPU = torch.device("cpu")
INFO = """processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: Some   Processor @ 2 GHz

processor\t: 1
cpu family\t: 7
model\t\t: 8
model name\t: Another
"""


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Return the name of the CPU on a system whose file says this."""

    def name(info):
        file = tmp_path / "cpuinfo"
        if info is not None:
            file.write_text(info)
        monkeypatch.setattr(record_builder, "CPU_INFO", file)
        monkeypatch.setattr(record_builder.platform, "machine", lambda: "x86_64")
        monkeypatch.setattr(record_builder.torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
        monkeypatch.setattr(record_builder.torch, "get_num_threads", lambda: 3)
        return record_builder.device_name(CPU)

    return name


def test_a_processor_is_named_with_family_model_and_instructions(named):
    expected = "x86_64 CPU (Some Processor @ 2 GHz, family 25, model 1, AVX2), 3 thread(s)"
    assert named(INFO) == expected


@pytest.mark.parametrize("info", [None, "", "processor\t: 0\nmodel name\t:\n", "Hardware\t: X\n"])
def test_a_system_that_does_not_say_leaves_the_name_out(named, info):
    assert named(info) == "x86_64 CPU, 3 thread(s)"


def test_a_name_without_end_is_cut(named):
    name = named(INFO.replace("Some", "S" * 1000))
    assert len(name) < 200
    assert name.endswith("family 25, model 1, AVX2), 3 thread(s)")


def test_a_record_tells_which_code_trained():
    assert record_builder.environment(CPU, "loop", (0,)).package == package_digest()
