"""clusters/kuberay.yaml: held against KubeRay's published schema, Ray's version, and what a mistake would make dear."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads(Path(__file__).with_name("kuberay-1.7.0.json").read_text())
MANIFEST = yaml.safe_load((ROOT / "clusters" / "kuberay.yaml").read_text())


def mistakes(manifest: dict[str, Any]) -> list[str]:
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(manifest)]


def test_kuberay_knows_every_field():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert mistakes(MANIFEST) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "enableInTreeAutoscalin"), True),
        (("spec", "authOptions", "mode"), "tokens"),
        (("spec", "autoscalerOptions", "idleTimeoutSecond"), 3),
        (("spec", "autoscalerOptions", "version"), "v3"),
        (("spec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
        (("spec", "headGroupSpec", "template", "spec", "restart"), "Never"),
        (("spec", "workerGroupSpecs", 0, "maxReplicas"), "8"),
        (("spec", "workerGroupSpecs", 0, "template", "spec", "containers", 0, "resource"), {}),
        (("kind",), "RayClusters"),
    ],
)
def test_a_misspelt_field_or_a_wrong_value_is_seen(path, value):
    manifest = copy.deepcopy(MANIFEST)
    place: Any = manifest
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    assert mistakes(manifest)


def test_what_must_be_there_is_asked_for():
    for name in ("groupName", "maxReplicas", "minReplicas", "template"):
        manifest = copy.deepcopy(MANIFEST)
        del manifest["spec"]["workerGroupSpecs"][0][name]
        assert mistakes(manifest)


def test_decisions_that_a_change_must_not_undo_by_accident():
    spec = MANIFEST["spec"]
    (worker,) = spec["workerGroupSpecs"]
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"] is True
    assert spec["autoscalerOptions"]["version"] == "v2"
    assert spec["autoscalerOptions"]["idleTimeoutSeconds"] <= 300
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert (worker["replicas"], worker["minReplicas"]) == (0, 0)
    pinned = re.search(r"^ray==(.*)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned is not None
    assert spec["rayVersion"] == pinned[1]
    images = {group["template"]["spec"]["containers"][0]["image"] for group in (spec["headGroupSpec"], worker)}
    assert len(images) == 1, "all nodes have one Python and one Ray"


def test_the_image_has_what_the_manifest_needs_and_nothing_private():
    lines = (ROOT / "clusters" / "Dockerfile").read_text().splitlines()
    copied = {word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]}
    assert copied == {"pyproject.toml", "constraints.txt", "README.md", "rdstudy", "studies"}
    assert all((ROOT / name).exists() for name in copied)
