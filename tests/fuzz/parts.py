"""A good study file in pieces, each of which can be replaced by an odd one."""

from collections.abc import Mapping

_HEAD = """import numpy as np

from rdstudy.study.claims import Betas, Claim, exceeds, falls
from rdstudy.datasets import own_dataset
from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study

"""

Parts = Mapping[str, Mapping[str, str]]

PARTS: Parts = {
    "own_dataset": {
        "name": '"blobs"',
        "images": "np.random.default_rng(7).integers(0, 256, (61, 1, 16, 16)).astype(np.uint8)",
        "factors": "np.random.default_rng(8).random((61, 2))",
        "factor_names": '["x", "y"]',
    },
    "grid": {
        "dataset": "[BLOBS]",
        "split": '["cv(23)"]',
        "architecture": '["mlp"]',
        "depth": "[1]",
        "width": "[5]",
        "latent_dim": "[2]",
        "prior": '["mixture(k=3)"]',
        "likelihood": '["bernoulli"]',
        "objective": '["beta"]',
        "beta": "[0.1, 1]",
        "seed": "[0]",
    },
    "Experiment": {"name": '"few"', "grid": "GRID", "title": '"Few"', "description": '"Text."', "figures": "()"},
    "Recipe": {
        "optimizer": '"adam"',
        "learning_rate": "0.001",
        "batch_size": "7",
        "steps": "11",
        "schedule": '"constant"',
        "initialization": '"he"',
        "weight_decay": "0.001",
        "precision": '"tf32"',
    },
    "Evaluation": {"trajectory_points": "3", "trajectory_images": "11", "final_images": "13", "validation_images": "5"},
    "Measures": {
        "names": '["rate_parts", "log_marginal", "probe", "reconstructions"]',
        "aggregate_images": "13",
        "latent_samples": "5",
        "importance_images": "2",
        "importance_samples": "31",
        "refit_steps": "2",
        "memorization_images": "7",
        "neighbour_images": "7",
        "probe_images": "3",
        "reconstruction_images": "2",
        "annealing": "None",
        "annealing_images": "2",
        "annealing_temperatures": "5",
    },
    "Resources": {
        "cpus": "1",
        "gpus": "0",
        "pack_size": "None",
        "checkpoint_seconds": "0",
        "gpu_memory_gib": "None",
        "gpu_model": '"H200"',
        "evaluation_memory_gib": "2",
        "keep_weights": "True",
        "devices": "None",
        "price": "None",
    },
    "Betas": {"least": "1.0"},
    "exceeds": {
        "arm": '{"depth": 1}',
        "over": '{"depth": 1}',
        "value": '"distortion"',
        "subset": '"test"',
        "betas": "BETAS",
    },
    "Claim": {
        "name": '"lower"',
        "sentence": '"It is lower."',
        "source": '"A. Reader"',
        "contrasts": "[CONTRAST]",
        "figure": '"few-distortion"',
    },
    "Study": {
        "name": '"fuzz"',
        "experiments": "[EXPERIMENT]",
        "title": '"Fuzz"',
        "description": '"Text."',
        "recipe": "RECIPE",
        "evaluation": "EVALUATION",
        "measures": "MEASURES",
        "resources": "RESOURCES",
        "seed": "0",
        "callbacks": "None",
        "claims": "[CLAIM]",
    },
}
"""A good study file: call -> argument -> expression."""

CALLS = {
    "own_dataset": "BLOBS",
    "grid": "GRID",
    "Experiment": "EXPERIMENT",
    "Recipe": "RECIPE",
    "Evaluation": "EVALUATION",
    "Measures": "MEASURES",
    "Resources": "RESOURCES",
    "Betas": "BETAS",
    "exceeds": "CONTRAST",
    "Claim": "CLAIM",
    "Study": "STUDY",
}


def study_text(parts: Parts = PARTS) -> str:
    """A study file of these parts."""
    calls = []
    for call, name in CALLS.items():
        if call == "grid":
            body = "{" + ", ".join(f"{key!r}: {value}" for key, value in parts[call].items()) + "}"
        else:
            body = f"{call}(" + ", ".join(f"{key}={value}" for key, value in parts[call].items()) + ")"
        calls.append(f"{name} = {body}")
    return _HEAD + "\n".join(calls) + "\n"
