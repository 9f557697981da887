"""How cells are named, wherever that is: on a page, in a terminal, in a sentence."""

from typing import Any

from rdstudy.study.cells import cell_name, level_name, telling_factors


def test_factors_that_say_nothing_new_name_no_cell():
    levels: dict[str, list[Any]] = {
        "split": ["cv(1001)"] * 3,
        "architecture": ["mlp", "cnn", "mlp"],
        "depth": [1, 1, 3],
        "width": [512, 64, 512],  # comes with the architecture
    }
    assert telling_factors(levels) == ("architecture", "depth")
    assert telling_factors({"depth": [2, 2]}) == telling_factors({"depth": []}) == telling_factors({}) == ()


def test_a_factor_that_is_determined_by_two_others_together_is_left_out():
    assert telling_factors({"depth": [1, 1, 3, 3], "beta": [0, 1, 0, 1], "seed": [0, 1, 2, 3]}) == ("depth", "beta")


def test_two_files_of_one_part_are_told_apart_by_their_hashes():
    priors = [f"own(k=3)@{digit * 16}" for digit in "ab"]
    assert level_name("prior", priors[0]) == "own(k=3) prior"
    assert level_name("prior", priors[0], among=priors) == f"own(k=3) prior @{'a' * 16}"


def test_a_linear_vae_has_no_layers_to_count():
    among: dict[str, list[Any]] = {"architecture": ["linear", "mlp"], "depth": [1]}
    assert cell_name({"architecture": "linear", "depth": 1}, among=among) == "linear"
    assert cell_name({"architecture": "mlp", "depth": 1}, among=among) == "MLP, 1 layer"
