"""A paragraph for each measure that a page shows: what it is, its formula, how it is estimated, from how much, and who
made it. What is said of numbers of images and samples is read from the rows.

Formulas are HTML of this file alone: nothing that a user writes enters them. The file is longer than others, as it is a
list: a function a measure, in the order of a page, None where a study has no value of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from rdstudy.findings.belief import LEAST_PASSED
from rdstudy.findings.evidence import ERROR, LEAST_SEEDS, LEVEL
from rdstudy.findings.learning import NOTICEABLE
from rdstudy.report import text
from rdstudy.report.cells import with_cells
from rdstudy.report.read import StudyTables
from rdstudy.report.sizes import size_pairs


@dataclass(frozen=True)
class Method:
    """How a measure comes about.

    Attributes:
        key: names its anchor.
        name: of the measure.
        words: what it is.
        formula: HTML; empty where words say all.
        estimate: how it is estimated, and from how many images and samples.
        source: author and year, or a section of the paper; empty where it is ours.
    """

    key: str
    name: str
    words: str
    formula: Markup
    estimate: str
    source: str = ""


def methods_of(study: StudyTables) -> tuple[Method, ...]:
    """The measures that a study has values of, in the order of a page; none where no model is trained."""
    if not (study.members["outcome"] == "ok").any():
        return ()
    known = (write(study) for column, write in _WRITERS if not column or _has(study.measures, column))
    return tuple(method for method in known if method is not None)


# --- what rows say --------------------------------------------------------------------------------------------------


def _has(table: pd.DataFrame, column: str) -> bool:
    return column in table and bool(table[column].notna().any())


def _counted(table: pd.DataFrame, column: str) -> str:
    """Such as "4,000 test and 1,024 train images": the least to the most of each subset."""
    known = table[table[column].notna()]
    groups = [(name, known[known["subset"] == name]) for name in ("test", "train")]
    parts = [f"{text.span(part[column])} {name}" for name, part in groups if len(part)]
    return f"{' and '.join(parts)} images".lstrip()


def _many(table: pd.DataFrame, column: str, what: str) -> str:
    """Such as "300 to 500 test images"; "test images" where older rows do not say how many."""
    return f"{text.span(table[column].dropna())} {what}" if _has(table, column) else what


# --- every model ----------------------------------------------------------------------------------------------------


def _distortion(study: StudyTables) -> Method:
    likelihoods, trained = set(study.planned["likelihood"]), study.members[study.members["outcome"] == "ok"]
    bernoulli = "Pixels are Bernoulli variables; a value between 0 and 1 counts as a probability."
    gaussian = "Of Gaussian pixels, D is minus the log of a density, and may be negative."
    return Method(
        "distortion",
        "Distortion D",
        "What a reconstruction costs: minus the log likelihood of an image, given a code drawn for it, summed over "
        "pixels.",
        Markup("D = −E<sub>x</sub> E<sub>q(z|x)</sub> log p(x|z)"),
        text.joined(
            f"One code an image, over {_counted(trained, 'images')}, after training.",
            _trajectory_words(study.trajectories),
            bernoulli if "bernoulli" in likelihoods else "",
            gaussian if any(level.startswith("gaussian") for level in likelihoods) else "",
        ),
        "Paper, 2",
    )


def _trajectory_words(trajectories: pd.DataFrame) -> str:
    if trajectories.empty:
        return ""
    points = trajectories.groupby(["member_id", "subset"]).size().max()
    return f"Learning curves: at up to {points} steps, on {_counted(trajectories, 'images')}, a fixed random sample."


def _rate(study: StudyTables) -> Method:
    is_normal = set(study.planned["prior"]) == {"normal"}
    closed = "In closed form, as posterior and prior are normal." if is_normal else _OTHER_PRIORS
    return Method(
        "rate",
        "Rate R",
        "What a code costs: how far the codes of an image are from the prior. It is an upper bound on the mutual "
        "information of images and codes.",
        Markup("R = E<sub>x</sub> KL(q(z|x) ‖ p(z))"),
        f"{closed} On the images of D.",
        "Paper, 2; Alemi et al. 2018",
    )


_OTHER_PRIORS = "In closed form under the normal prior; under others from the code drawn, log q(z|x) − log p(z)."


def _elbo(study: StudyTables) -> Method:
    removed = [words for name, words in _OBJECTIVES.items() if name in set(study.planned["objective"])]
    return Method(
        "elbo",
        "ELBO, and what training minimizes",
        "The evidence lower bound is at most log p(x), on average over images. Training weighs the rate by β: for "
        "β < 1 what it minimizes is no bound.",
        Markup("ELBO = −(D + R) ≤ E<sub>x</sub> log p(x)<br>training minimizes D + β R"),
        f"Where it is used, {'; '.join(removed)}, as the batch that is trained on estimates it (paper, 4.5)."
        if removed
        else "",
        "Kingma and Welling 2014; Higgins et al. 2017",
    )


_OBJECTIVES = {
    "no_marginal_kl": "the objective no_marginal_kl leaves KL(q(z) ‖ p(z)) out of R",
    "no_mutual_information": "the objective no_mutual_information leaves I out of R",
}


def _floor(study: StudyTables) -> Method:
    of_bernoulli = set(study.planned["likelihood"]) == {"bernoulli"}
    entropy = "floor = −E<sub>x</sub> Σ<sub>pixels</sub> [x log x + (1 − x) log(1 − x)]"
    least = "floor = E<sub>x</sub> min −log p(x|z), over all outputs of a decoder"
    return Method(
        "floor",
        "Distortion floor",
        "The least distortion that any output of a decoder has on the same images: no model gets below it.",
        Markup(entropy if of_bernoulli else least),  # noqa: S704  both are ours
        f"Exact, on the images of D{'; it is the entropy of the pixels as Bernoulli variables' * of_bernoulli}.",
    )


def _gap(_: StudyTables) -> Method:
    return Method(
        "gap",
        "Generalization gap",
        "By how much a model does worse on test images than on its training images, each above its own floor, so that "
        "easier images are no better model.",
        Markup("gap = (D − floor)<sub>test</sub> − (D − floor)<sub>train</sub>"),
        "Of each model, then a mean over seeds.",
        "Paper, 4.4, without floors",
    )


# --- seeds ----------------------------------------------------------------------------------------------------------


def _intervals(study: StudyTables) -> Method | None:
    seeds = study.planned["seed"].nunique()
    if seeds < 2:
        return None
    return Method(
        "intervals",
        "Means, bars and intervals",
        "Models that differ in the seed alone are repetitions. Bars are one sample standard deviation over them unless "
        f"the words at a figure say that they are {100 * LEVEL:g} % intervals. Models of equal seeds share initial "
        "weights, batches and noise, so that β and networks are compared seed by seed.",
        Markup("mean ± t<sub>n−1</sub> s / √n, over n differences within seeds"),
        f"Student's t over up to {seeds} seeds. Where all seeds share a small sample of images, as for log p(x), the "
        "interval holds the choice of images too: the variances of the mean over seeds and of that over images are "
        "added, less what both hold.",
        "Student 1908; Searle, Casella and McCulloch 1992, 4.3",
    )


def _still_learning(study: StudyTables) -> Method | None:
    if study.trajectories.empty:
        return None
    return Method(
        "still-learning",
        "Still learning when training ended",
        f"Whether training distortion above its floor fell by more than {100 * NOTICEABLE:g} % of what was left in "
        "the last quarter of training, and by more than none: longer training may then change what is said.",
        Markup("fall = (D − floor)<sub>at ¾ of the steps</sub> − (D − floor)<sub>at the end</sub>"),
        f"On train, from the learning curves; with several seeds, by the {100 * LEVEL:g} % interval over them.",
    )


def _early_stopping(study: StudyTables) -> Method | None:
    stopped = study.members[study.members["stop_step"].notna()]
    if stopped.empty:
        return None
    images = _many(stopped, "validation_images", "images")
    return Method(
        "early-stopping",
        "Early stopping",
        "The weights of the step at which the objective was least on validation images, in place of the last ones.",
        Markup("step = argmin<sub>t</sub> D<sub>validation</sub>(t) + β R<sub>validation</sub>(t)"),
        f"Among the steps of the learning curves, on {images} that are taken from the test images and are in no test "
        "value.",
    )


# --- the rate -------------------------------------------------------------------------------------------------------


def _rate_parts(study: StudyTables) -> Method:
    rows = study.measures
    return Method(
        "rate-parts",
        "Mutual information and marginal KL",
        "The rate is the sum of what codes say of their image, I, and of how far all codes together are from the "
        "prior. I cannot exceed log N.",
        Markup("R = I + KL(q(z) ‖ p(z))<br>I = E log [q(z|x) / q(z)]<br>q(z) = (1/N) Σ<sub>n</sub> q(z|x<sub>n</sub>)"),
        f"q(z) is exact, a sum over all N images: {_counted(rows, 'aggregate_images')}. Means over "
        f"{_many(rows, 'latent_samples', 'codes')}, each of another image.",
        "Hoffman and Johnson 2016",
    )


def _batch_rate_parts(_: StudyTables) -> Method:
    return Method(
        "batch-rate-parts",
        "The same from batches of 512",
        "The paper's estimate of q(z), from the images of one batch. With it, I is too high on average, and the "
        "marginal KL too low by as much.",
        Markup(
            "q(z<sub>i</sub>) ≈ q(z<sub>i</sub>|x<sub>i</sub>) / N + (N − 1) / (N (B − 1)) "
            "Σ<sub>j≠i</sub> q(z<sub>i</sub>|x<sub>j</sub>), B = 512"
        ),
        "From up to eight batches of each subset.",
        "Paper, 4.5; Esmaeili et al. 2019",
    )


def _total_correlation(_: StudyTables) -> Method:
    return Method(
        "total-correlation",
        "Total correlation and dimension-wise KL",
        "Two parts of the marginal KL: how far latent dimensions depend on each other, and how far each is from its "
        "prior. The second needs a prior that is a product over dimensions.",
        Markup(
            "KL(q(z) ‖ p(z)) = KL(q(z) ‖ Π<sub>j</sub> q(z<sub>j</sub>)) + "
            "Σ<sub>j</sub> KL(q(z<sub>j</sub>) ‖ p(z<sub>j</sub>))"
        ),
        "From the same codes, with exact sums over images.",
        "Chen et al. 2018, equation 2",
    )


def _cross_rate(study: StudyTables) -> Method:
    return Method(
        "cross-rate",
        "Cross rate",
        "What the codes of test images cost where the codes of all training images are the prior: what training can "
        "know of the best prior.",
        Markup("E<sub>test</sub> KL(q(z|x) ‖ q<sub>train</sub>(z))"),
        "With the exact sum over all training images; means over "
        f"{_many(study.measures, 'latent_samples', 'codes')}, each of another test image.",
    )


def _active_units(study: StudyTables) -> Method:
    aggregate = _has(study.measures, "aggregate_images")
    return Method(
        "active-units",
        "Active units",
        "Latent dimensions whose mean code varies from image to image.",
        Markup("Var<sub>x</sub>(E[z<sub>j</sub>|x]) &gt; 0.01 Var<sub>p</sub>(z<sub>j</sub>)"),
        f"Over {_counted(study.measures, 'aggregate_images')}." if aggregate else "",
        "Burda et al. 2016, 4.2",
    )


# --- log p(x) -------------------------------------------------------------------------------------------------------


def _log_marginal(study: StudyTables) -> Method:
    rows = study.measures
    return Method(
        "log-marginal",
        "Log marginal likelihood, log p(x)",
        "How likely an image is under a model, whatever its code. The estimate is a lower bound in expectation.",
        Markup(
            "log p(x) ≈ log (1/K) Σ<sub>k</sub> p(x, z<sub>k</sub>) / "
            "r<sub>x</sub>(z<sub>k</sub>)<br>z<sub>k</sub> from r<sub>x</sub>(z)"
        ),
        f"The proposal, of heavy tails, is fitted to each image; {_many(rows, 'importance_samples', 'draws')} or more, "
        f"on {_counted(rows, 'importance_images')}, a fixed random sample. The largest weights are smoothed by a "
        "generalized Pareto distribution; where its shape k̂ is above 0.7, or few draws carry the weight, more are "
        "drawn, and an annealed lower bound is taken where that does not help. An image passes where its estimate is "
        f"to be believed. A mean of which less than {100 * LEAST_PASSED:g} % of images pass is drawn hollow, and so is "
        "what is made of it.",
        "Vehtari et al. 2024; Neal 2001",
    )


def _inference_gap(_: StudyTables) -> Method:
    return Method(
        "inference-gap",
        "Inference gap, and the parts of the generalization gap",
        "The inference gap is what the encoder loses: log p(x) less the ELBO. The generalization gap of the ELBO is "
        "the decoder's part, the difference of log p(x) above the floors, and the encoder's part, the difference of "
        "the inference gaps.",
        Markup(
            "gap of the ELBO = (ℓ<sub>train</sub> − ℓ<sub>test</sub>) + (g<sub>test</sub> − g<sub>train</sub>)<br>"
            "ℓ = log p(x) + floor<br>g = log p(x) − ELBO"
        ),
        "On the images of log p(x). Refitting: what the best diagonal normal posterior of each image, found by Adam "
        "under the frozen decoder, gains over the encoder's.",
        "Cremer, Li and Duvenaud 2018, equation 3",
    )


def _certificates(study: StudyTables) -> Method:
    return Method(
        "certificates",
        "Log p(x), certified",
        "Of images simulated from a model itself, log p(x) is bounded from both sides: from below by annealing from "
        "the encoder's posterior to the true one, from above by the way back from the code that made the image.",
        Markup("E[lower bound] ≤ E log p(x) ≤ E[upper bound]"),
        f"{_many(study.measures, 'annealing_images', 'simulated images')} of each model chosen for it.",
        "Grosse, Ghahramani and Adams 2015; Neal 2001; Wu et al. 2017",
    )


# --- memory ---------------------------------------------------------------------------------------------------------


def _memorization(study: StudyTables) -> Method:
    rows = study.measures
    controls = _many(rows, "memorization_controls", "images")
    return Method(
        "memorization",
        "Memorization",
        "Of the reconstructions of test images, the share whose nearest image is a training image, among the training "
        "images and as many images that were never trained on. Where nothing is memorized it is 1/2, however blurred "
        "reconstructions are.",
        Markup("P(min<sub>train</sub> ‖x̂ − x<sub>n</sub>‖ &lt; min<sub>others</sub> ‖x̂ − x<sub>m</sub>‖)"),
        f"{_many(rows, 'memorization_images', 'test images')}, {controls} on either side, ℓ2 over pixels. "
        "Reconstructions nearest to one image count as one answer, and few answers draw the share towards 1/2.",
        "Meehan, Chaudhuri and Dasgupta 2020; Agresti and Coull 1998",
    )


def _copied(study: StudyTables) -> Method:
    return Method(
        "copied",
        "Nearer to a training image than to its own",
        "The share of test reconstructions that are nearer to some training image than to the image that they "
        "reconstruct. It is no measure of memory: blur raises it too.",
        Markup("P(min<sub>train</sub> ‖x̂ − x<sub>n</sub>‖ &lt; ‖x̂ − x‖)"),
        f"{_many(study.measures, 'memorization_images', 'test images')}, ℓ2 over pixels.",
    )


def _leave_one_out(study: StudyTables) -> Method | None:
    if study.probes.empty or not size_pairs(with_cells(study.planned)):
        return None
    images = study.probes.groupby("dataset")["image"].nunique()
    return Method(
        "leave-one-out",
        "Leave-one-out memorization",
        "What log p(x) of an image gains from training on it: mean log p(x) of images that only the larger of two "
        "training sets holds, under models of the larger less those of the smaller, minus the same of images that "
        "neither holds.",
        Markup("E<sub>larger alone</sub> Δ log p(x) − E<sub>neither</sub> Δ log p(x)"),
        f"{text.span(images)} images of each data set, the same for all models; between consecutive sizes of cv(N).",
        "van den Burg and Williams 2021; the control is ours",
    )


def _optimal_decoder(study: StudyTables) -> Method:
    rows = study.measures
    known = rows[rows["optimal_distortion"].notna()]
    return Method(
        "optimal-decoder",
        "Decoder of infinite capacity",
        "The decoder that answers a code with the mean of the training images, weighted by how likely each is to have "
        "had that code. No decoder has less distortion on the training images; on test images it is pure memory.",
        Markup("x*(z) = Σ<sub>n</sub> w<sub>n</sub>(z) x<sub>n</sub><br>w<sub>n</sub>(z) ∝ q(z|x<sub>n</sub>)"),
        f"Over {_counted(known, 'memorization_images')}, one code each; the sum is over all training images.",
        "Paper, 2; Alemi et al. 2018; Shu et al. 2018",
    )


# --- the rest -------------------------------------------------------------------------------------------------------


def _closed_forms(_: StudyTables) -> Method:
    return Method(
        "closed-forms",
        "Closed forms of linear VAEs",
        "A linear VAE on Gaussian pixels has closed forms of what is measured. Its best weights are those of "
        "probabilistic PCA with the noise βσ².",
        Markup(""),
        "From the learned weights, and the mean and covariance of a subset's own images, without sampling.",
        "Tipping and Bishop 1999",
    )


def _neighbours(study: StudyTables) -> Method | None:
    known = study.neighbours.dropna(subset=["distance"])
    if known.empty:
        return None
    images = known.groupby(["dataset", "split", "study_seed"]).size()
    return Method(
        "neighbours",
        "Distance to the nearest training image, and the hard example",
        "How far a test image is from what was trained on. The hard example of a split is the test image at the 90th "
        "percentile of these distances.",
        Markup("min<sub>n</sub> ‖x − x<sub>n</sub>‖<sub>2</sub>, pixel values in [0, 1]"),
        f"{text.span(images)} test images of each split, a fixed random sample, against all its training images.",
        "Paper, 4.4",
    )


def _own_measures(study: StudyTables) -> Method | None:
    rows = study.own_measures[study.own_measures["value"].notna()]
    if rows.empty:
        return None
    named = rows.drop_duplicates("name").sort_values("name")
    names = [f"{name} in {unit}" for name, unit in zip(named["name"], named["unit"], strict=True)]
    return Method(
        "own-measures",
        "Measures of this study",
        f"By functions of the study's own files: {text.listed(names)}.",
        Markup(""),
        f"Means over {_counted(rows, 'images')}.",
    )


def _claims(study: StudyTables) -> Method | None:
    if not study.claims:
        return None
    return Method(
        "claims",
        "How a claim is decided",
        "A claim is made of contrasts, each an effect that must be above, or below, a threshold that the study "
        "declares. It is supported where every contrast is told to hold, contradicted where one is told to fail, and "
        f"else undecided; with fewer than {LEAST_SEEDS} complete seeds there are not enough models.",
        Markup(  # noqa: S704  a number of ours
            f"supported: all p<sub>for</sub> ≤ {ERROR:g}<br>"
            f"contradicted: c · min p<sub>against</sub> ≤ {ERROR:g}, of c contrasts"
        ),
        "An effect is computed within each seed, then Student's t over seeds. Where a contrast looks for some β, the "
        "first fifth of the seeds, one at least, choose it and judge no more; where seeds share images, the choice is "
        f"corrected for instead. A verdict is meant to be wrong in at most {100 * ERROR:g} % of studies; nothing is "
        "corrected for the number of claims. A claim that rests on an estimate that is not to be believed is never "
        "supported.",
        "Student 1908; Benjamini and Heller 2008",
    )


_WRITERS: tuple[tuple[str, Callable[[StudyTables], Method | None]], ...] = (
    ("", _distortion),
    ("", _rate),
    ("", _elbo),
    ("", _floor),
    ("", _gap),
    ("", _intervals),
    ("", _still_learning),
    ("", _early_stopping),
    ("mutual_information", _rate_parts),
    ("mutual_information_b512", _batch_rate_parts),
    ("total_correlation", _total_correlation),
    ("cross_rate", _cross_rate),
    ("active_units", _active_units),
    ("log_marginal", _log_marginal),
    ("inference_gap", _inference_gap),
    ("annealed_lower", _certificates),
    ("memorization", _memorization),
    ("copied_fraction", _copied),
    ("", _leave_one_out),
    ("optimal_distortion", _optimal_decoder),
    ("exact_rate", _closed_forms),
    ("", _neighbours),
    ("", _own_measures),
    ("", _claims),
)
"""Each with the column of measures without which there is nothing to write; "" where it needs none."""
