"""Kernels are counted as they are called, and a group of members shares those that it can share."""

import dataclasses
import json

import torch

from benchmarks import measure_kernels
from benchmarks.measure_kernels import Counter
from rdstudy.planning.packs import GPU_PACK_SIZE
from tests.benchmarks.small import TINY_MLP


def test_views_are_no_kernels_and_bytes_are_those_read_and_written():
    x, y = torch.zeros(3, 5), torch.zeros(7, 5)
    with Counter() as counter:  # type: ignore[no-untyped-call]
        (x @ y.T).view(-1).relu_()
    assert counter.kernels == 2
    product, in_place = 4 * (15 + 35 + 21), 4 * (21 + 21)
    assert counter.bytes == product + in_place


def test_a_group_takes_fewer_kernels_a_member(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(measure_kernels, "SIZES", {"tiny": dataclasses.replace(TINY_MLP, side=32)})
    monkeypatch.setattr(measure_kernels, "MEASURES", ("rate_parts", "memorization"))
    path = tmp_path / "rows.json"
    options = [
        "--size",
        "tiny",
        "--members",
        "1",
        "3",
        "--images",
        "31",
        "--few",
        "5",
        "--samples",
        "7",
        "--steps",
        "2",
    ]
    measure_kernels.main([*options, "--json", str(path)])
    rows = {(row["members"], row["measure"]): row["kernels"] for row in json.loads(path.read_text())}
    assert rows[1, "training"] == GPU_PACK_SIZE * rows[GPU_PACK_SIZE, "training"] > 0
    assert rows[3, "memorization"] < 0.7 * rows[1, "memorization"]
    assert rows[3, "all measures"] == rows[3, "rate_parts"] + rows[3, "memorization"]
    assert "kernels a member" in capsys.readouterr().out
