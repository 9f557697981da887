"""What the data sets and the splits of a study are, in words: what a reader needs before any curve."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from rdstudy.datasets.registry import dataset_info
from rdstudy.datasets.splits import Rule, parse_rule
from rdstudy.report import text

_TETROMINOES = (
    "each of one shape, a J-shaped tetromino of four squares. Rotation, hue, scale and the horizontal and vertical "
    "position are spread evenly: one image is drawn from each of 16 × 8 × 5 × 16 × 16 strata"
)
_DATASETS = {
    "tetrominoes": (
        f"{_TETROMINOES}. Positions adapt to rotation and scale, so that no shape leaves its image (paper, 4.1)."
    ),
    "tetrominoes-fixed": (
        f"{_TETROMINOES}. Positions are drawn from one range, whatever a shape's size, as the authors' first published "
        "generator did."
    ),
    "gaussian": (
        "drawn from a normal distribution whose mean and covariance are known, so that what a linear VAE should learn "
        "of them has a closed form. They look like noise around a few patterns."
    ),
    "mnist": "handwritten digits (LeCun, Bottou, Bengio and Haffner 1998), 28×28 pixels with a black frame.",
    "fashion-mnist": "pieces of clothing (Xiao, Rasul and Vollgraf 2017), 28×28 pixels with a black frame.",
    "smallnorb": "photographs of 50 toys (LeCun, Huang and Bottou 2004), averaged from 96×96 pixels.",
    "3dshapes": "rendered scenes with one shape in a room (Burgess and Kim 2018), averaged from 64×64 pixels.",
    "dsprites": "white shapes on black (Matthey, Higgins, Hassabis and Lerchner 2017), averaged from 64×64 pixels.",
}
"""What a data set's images show; how many there are, and of what size, its entry in the registry says."""


def dataset_words(dataset: str, examples: pd.DataFrame) -> str:
    """What a data set is: how many images of what size, what they show, and by which factors they differ.

    Args:
        dataset: its name.
        examples: rows of `schema.EXAMPLES` of it, from which the size of images of one's own is read.
    """
    if dataset in _DATASETS:
        info = dataset_info(dataset)
        channels, height, width = info.image_shape
        many, shows, factors = f"{info.images:,} ", f", {_DATASETS[dataset]}", info.factor_names
    elif len(examples):
        first = examples.iloc[0]
        channels, height, width = (int(first[name]) for name in ("channels", "height", "width"))
        many, shows, factors = "", ", a data set of the study's own.", _factor_names(examples)
    else:
        return "A data set of the study's own."
    kind = "grey" if channels == 1 else "colour"
    words = f"{many}{kind} images of {width}×{height} pixels{shows}"
    return f"{words[:1].upper()}{words[1:]} {_factor_words(factors)}"


def _factor_names(examples: pd.DataFrame) -> tuple[str, ...]:
    names = examples["factor_names"].iloc[0]
    return tuple(str(name) for name in names) if names is not None else ()


def _factor_words(names: Sequence[str]) -> str:
    if not names:
        return "It has no generative factors."
    plain = [name.replace("_", " ") for name in names]
    return f"Generative factors: {text.enumerated(plain)}."


# --- splits ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SplitWords:
    """A kind of split: as studies write it, its name, and what it means."""

    form: str
    name: str
    words: str


def split_words(planned: pd.DataFrame) -> tuple[SplitWords, ...]:
    """What the kinds of split mean that these members use, by their `dataset` and `split`, and no others."""
    pairs = planned[["dataset", "split"]].drop_duplicates()
    rules = [(dataset, parse_rule(split)) for dataset, split in pairs.itertuples(index=False)]
    kinds = {"cv": _constant_volume, "cd": _constant_density, "checkerboard": _checkerboard}
    used = {
        kind: [(dataset, _sized(dataset, rule)) for dataset, rule in rules if _kind(rule) == kind] for kind in kinds
    }
    return tuple(kinds[kind](pairs) for kind, pairs in used.items() if pairs)


def _kind(rule: Rule) -> str:
    return "cv" if rule.kind == "default" else rule.kind


def _sized(dataset: str, rule: Rule) -> Rule:
    """A rule with its size, where a default split has one that is known."""
    half = _half(dataset)
    return Rule("cv", half) if rule.kind == "default" and half else rule


def _half(dataset: str) -> int:
    """Half of a data set's images; 0 where their number is not known here."""
    return dataset_info(dataset).images // 2 if dataset in _DATASETS else 0


Used = Sequence[tuple[str, Rule]]
"""Pairs of a data set and a rule."""


def _sizes(used: Used) -> str:
    counts = sorted({rule.train_images for _, rule in used if rule.train_images})
    return f"Here N is {text.enumerated([f'{count:,}' for count in counts])}." if counts else ""


def _constant_volume(used: Used) -> SplitWords:
    sizes = {rule.train_images for _, rule in used}
    halves = sorted({rule.train_images for dataset, rule in used if rule.train_images == _half(dataset)} - {None, 0})
    words = text.joined(
        "N training images drawn at random, without replacement, from the whole data set, so from the full range of "
        "every factor; all other images are test images. With a smaller N the training images lie more thinly in the "
        "same volume of factors.",
        _sizes(used),
        "A larger N holds the images of every smaller one." if len(sizes) > 1 else "",
        *(f"cv({half:,}), a random half, is the split called default." for half in halves),
    )
    return SplitWords("cv(N)", "constant volume", words)


def _constant_density(used: Used) -> SplitWords:
    words = text.joined(
        "The data set is halved at random. Of the one half, the N images whose factors are nearest to the middle of "
        "their ranges are training images; of the other half, those within the same cube of factors are test images. "
        "With a smaller N the training images lie as densely in a smaller volume of factors.",
        _sizes(used),
    )
    return SplitWords("cd(N)", "constant density", words)


def _checkerboard(_: Used) -> SplitWords:
    words = (
        "The range of every factor is cut in the middle, and the cells between the cuts are coloured like a "
        "checkerboard. All images in cells of one colour are training images, all others test images: each half of a "
        "factor is seen in training, but no combination of halves of all factors that a test image has."
    )
    return SplitWords("checkerboard", "unseen combinations of factors", words)


def split_note(planned: pd.DataFrame, members: pd.DataFrame, *, study_seed: int) -> str:
    """What holds for all splits of a study: what they depend on, and which images of `members` are set apart."""
    once = "split" if planned["split"].nunique() == 1 else "splits"
    seeds = f"The {once} of a data set depend{'s' if once == 'split' else ''} on the study's seed, {study_seed}, alone"
    apart = _validation_images(members["validation_images"].dropna().astype(int))
    return text.joined(f"{seeds}: all models of a split are trained on the same images.", apart)


def _validation_images(counts: Iterable[int]) -> str:
    known = sorted({count for count in counts if count})
    if not known:
        return ""
    many = text.enumerated([f"{count:,}" for count in known])
    return f"Of the test images, {many} are set apart for early stopping; test values are those of the others."
