"""A group of members shares the kernels that it can share."""

import dataclasses
import json

from benchmarks import measure_kernels
from rdstudy.planning.packs import GPU_PACK_SIZE
from tests.benchmarks.small import TINY_MLP


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
