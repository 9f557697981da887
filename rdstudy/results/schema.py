"""The columns of every table: the contract between training and the report.

All values of rate, distortion and ELBO are in nats per image. A column is never renamed or removed: a new one is
added at the end, and reads as null from older files.
"""

import pyarrow as pa

from rdstudy.study import factors

_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64()}


def _settings(*, appended: bool) -> list[tuple[str, pa.DataType]]:
    """Columns of the settings of a member, see `rdstudy.study.factors`."""
    return [(setting.name, _TYPES[setting.kind]) for setting in factors.SETTINGS if bool(setting.appended) == appended]


BEFORE = {setting.name: setting.before for setting in factors.SETTINGS if setting.before is not factors.NOTHING}
"""What rows from before a setting say of it: what their members had."""

_IDENTITY = [
    ("member_id", pa.string()),  # a hash of all settings that can change the member's numbers
    ("run_id", pa.string()),  # which training wrote the row: rows of one member are read from one run alone
    ("subset", pa.string()),  # train, test or validation
]

_PROVENANCE = [
    ("numerics_version", pa.int64()),  # of the code that trains: a part of the id
    ("code_version", pa.string()),  # version and commit, + where files differ from it; or -f and a hash of the files
    ("python_version", pa.string()),  # of Python
    ("torch_version", pa.string()),  # of PyTorch
    ("numpy_version", pa.string()),  # of NumPy
    ("device", pa.string()),  # cpu or cuda, and its name
    ("host", pa.string()),  # the machine's name
    ("finished_at", pa.timestamp("us", tz="UTC")),  # when the row was made
]

MEMBERS = pa.schema(
    [
        *_IDENTITY,
        *_settings(appended=False),
        ("outcome", pa.string()),  # ok, nonfinite or failed
        ("reason", pa.string()),  # why, unless ok
        ("nonfinite_step", pa.int64()),  # the first step whose forward pass was not finite
        ("images", pa.int64()),  # images of the subset behind the values of this row
        ("subset_images", pa.int64()),  # images of the whole subset
        ("parameters", pa.int64()),  # trained numbers, encoder and decoder
        ("distortion", pa.float64()),  # D = -E log p(x|z), one z an image
        ("rate", pa.float64()),  # R = E KL(q(z|x) || p(z))
        ("elbo", pa.float64()),  # -(D + R)
        ("distortion_floor", pa.float64()),  # of the same images under the likelihood: no decoder gets below it
        ("wall_seconds", pa.float64()),  # training and evaluation of this member, all its attempts together
        ("peak_memory_bytes", pa.int64()),  # of its pack: of CUDA tensors in its last attempt; of the process on a CPU
        *_PROVENANCE,
        ("stop_step", pa.int64()),  # early stopping: the step with the least D + βR on the validation subset
        ("stop_distortion", pa.float64()),  # D at that step, on the images of this row
        ("stop_rate", pa.float64()),  # R at that step
        *_settings(appended=True),
        ("step_mode", pa.string()),  # how steps were taken: alone, or stacked, and then in which way
        ("traceback", pa.string()),  # of an exception that ended the training, as Python writes it
        ("product_precision", pa.string()),  # what products and convolutions of training steps really used
    ]
)
"""One row per member and subset."""

SETTINGS = tuple(setting.name for setting in factors.SETTINGS)
"""Columns of `MEMBERS` that together say what the member is: its id is a hash of them."""


def _estimate(name: str) -> list[tuple[str, pa.DataType]]:
    """A Monte Carlo mean and its standard error, in nats per image unless it is a share."""
    return [(name, pa.float64()), (f"{name}_se", pa.float64())]


EXACT = (
    "distortion",
    "rate",
    "mutual_information",
    "marginal_kl",
    "total_correlation",
    "dimension_kl",
    "log_marginal",
)
"""The measures that have a closed form in a linear VAE on Gaussian pixels."""

_OF_IMAGES = [
    ("member_id", pa.string()),  # as in members
    ("run_id", pa.string()),  # which training the member is of, as in members
    ("measures_id", pa.string()),  # a hash of the settings of the measures
    ("dataset", pa.string()),  # that the images are of
]

_MEASURED = [
    ("measures_id", pa.string()),  # a hash of the settings of the measures
    ("finished_at", pa.timestamp("us", tz="UTC")),  # when it was measured
    ("code_version", pa.string()),  # as in members, of the code that measured
    ("device", pa.string()),  # that measured
]

MEASURES = pa.schema(
    [
        *_IDENTITY,
        *_MEASURED,
        ("measure_seconds", pa.float64()),  # wall time of all measures of the member, both subsets together
        ("aggregate_images", pa.int64()),  # N of q(z) = 1/N Σ q(z|x_n)
        ("latent_samples", pa.int64()),  # draws of z behind the parts of the rate
        ("aggregate_rate", pa.float64()),  # R over the N images: mutual information + marginal KL
        *_estimate("mutual_information"),  # I_q[x; z] <= log N
        *_estimate("marginal_kl"),  # KL(q(z) || p(z))
        *_estimate("total_correlation"),  # KL(q(z) || Π q(z_j))
        *_estimate("dimension_kl"),  # Σ_j KL(q(z_j) || p(z_j))
        *_estimate("mutual_information_b512"),  # the paper's estimates, from batches of 512
        *_estimate("marginal_kl_b512"),  # from the same batches
        *_estimate("cross_rate"),  # of the test row: E_test KL(q(z|x) || q_train(z))
        ("active_units", pa.int64()),  # latent dimensions with Var_x(E[z_j|x]) > 0.01
        ("importance_images", pa.int64()),  # images on which log p(x) is estimated, a fixed random sample
        ("importance_samples", pa.int64()),  # K, draws of z for each of them
        *_estimate("log_marginal"),  # log p(x), with a proposal fitted to each image; the standard error is over images
        ("log_marginal_floor", pa.float64()),  # the least distortion of those images: -log p(x) compares with it
        ("log_marginal_ess", pa.float64()),  # mean effective number of draws
        *_estimate("inference_gap"),  # log p(x) - ELBO on the same images, never below refit_gain
        ("refit_images", pa.int64()),  # the same as those of log p(x)
        *_estimate("refit_elbo_before"),  # ELBO of the encoder's posterior
        *_estimate("refit_elbo_after"),  # and of one fitted to each image under the frozen decoder
        *_estimate("refit_gain"),  # their difference, paired
        *_estimate("optimal_distortion"),  # D of the infinite-capacity decoder of the training set
        ("memorization_images", pa.int64()),  # of the test row
        *_estimate("copied_fraction"),  # share of reconstructions nearer to some training image than to their own
        ("annealing_images", pa.int64()),  # simulated from the model, written in the test row
        *_estimate("annealed_lower"),  # log p(x) of simulated images: bounds in expectation
        *_estimate("annealed_upper"),  # from above
        *_estimate("annealed_importance"),  # the importance-weighted estimate on the same images
        # Of linear VAEs on Gaussian pixels: closed forms for the learned weights, and for the best weights there are.
        *[(f"exact_{name}", pa.float64()) for name in EXACT],  # of the learned weights of a linear VAE, a closed form
        ("best_distortion", pa.float64()),  # D of the best weights that a linear VAE can have on these images
        ("best_rate", pa.float64()),  # their R
        ("best_log_marginal", pa.float64()),  # their log p(x)
        ("null_reasons", pa.string()),  # "measure: why it has no value", joined by " | "
        ("measures_version", pa.int64()),  # of the code of the measures
        # Of log p(x): Pareto k̂ of the importance weights, the 95th percentile over images. Above 0.7 means do not
        # believe it; null where every value is an annealed bound.
        ("log_marginal_khat", pa.float64()),
        ("log_marginal_passed", pa.float64()),  # share of images with a log p(x) to be believed; else a lower bound
        ("log_marginal_annealed", pa.float64()),  # share of images whose log p(x) is an annealed lower bound
        # One number an image of the fixed random sample, in its order, each plus the image's floor:
        ("image_log_marginal", pa.list_(pa.float32())),  # log p(x) of each image, plus its floor
        ("image_elbo", pa.list_(pa.float32())),  # ELBO of the encoder's posterior
        ("image_refit_elbo", pa.list_(pa.float32())),  # ELBO of the posterior fitted to the image
        # Of the test row: share of reconstructions whose nearest image, of the training images and as many images that
        # were never trained on, is a training image: 1/2 where nothing is memorized.
        *_estimate("memorization"),
        ("memorization_answers", pa.float64()),  # effective number of different answers behind that share
        ("memorization_controls", pa.int64()),  # training images, and as many others, that it compares with
    ]
)
"""One row per member, subset and settings of the measures. A measure that does not apply to a subset is null there."""

OWN_MEASURES = pa.schema(
    [
        *_IDENTITY,
        *_MEASURED,
        ("name", pa.string()),  # of the function in the user's file, with its arguments
        ("unit", pa.string()),  # of the value, as the user's file says
        *_estimate("value"),  # mean over images
        ("images", pa.int64()),  # a fixed random sample of the subset
    ]
)
"""One row per member, subset, settings of the measures and measure of one's own."""

PROBES = pa.schema(
    [
        *_OF_IMAGES,
        ("image", pa.int64()),  # index in the data set
        ("in_train", pa.bool_()),  # whether the member was trained with it
        ("log_marginal", pa.float64()),  # log p(x) of the image, nats
        ("log_marginal_ess", pa.float64()),  # effective number of draws behind it
        ("log_marginal_passed", pa.bool_()),  # whether it can be believed
    ]
)
"""log p(x) of single images, the same for all members of a data set: what leave-one-out memorization is made of."""

_IMAGE = [
    ("channels", pa.int64()),  # of the image
    ("height", pa.int64()),  # rows
    ("width", pa.int64()),  # columns
    ("pixels", pa.binary()),  # uint8, channel by channel, row by row
]

RECONSTRUCTIONS = pa.schema(
    [
        *_OF_IMAGES,
        ("image", pa.int64()),  # index in the data set of the test image
        ("hard", pa.bool_()),  # the paper's hard example of this split
        *_IMAGE,  # the reconstruction: the decoder's mean for the posterior's mean
        ("optimal_pixels", pa.binary()),  # of the infinite-capacity decoder for the same z
        ("nearest_image", pa.int64()),  # the training image that is nearest to the reconstruction
        ("nearest_distance", pa.float64()),  # ℓ2, pixels in [0, 1]
        ("own_distance", pa.float64()),  # of the reconstruction to its own image
        ("control_distance", pa.float64()),  # and to the nearest of as many images that were never trained on
    ]
)
"""What members make of a few test images."""

SAMPLES = pa.schema(
    [
        *_OF_IMAGES,
        ("kind", pa.string()),  # prior: of a draw of z; traversal: of one image's code, one latent dimension moved
        ("dimension", pa.int64()),  # of a traversal: the latent dimension that moves; null for prior
        ("value", pa.float64()),  # how far, in standard deviations of the posteriors' means over the training images
        ("position", pa.int64()),  # from 0: of the draw, or in its traversal
        *_IMAGE,  # the decoder's mean
    ]
)
"""What the decoders of members make of the prior and of moved codes, where weights are kept."""

NEIGHBOURS = pa.schema(
    [
        ("dataset", pa.string()),  # that the images are of
        ("split", pa.string()),  # into training and test images
        ("study_seed", pa.int64()),  # of the split and of the sample
        ("image", pa.int64()),  # index in the data set of a test image
        ("nearest_image", pa.int64()),  # and of the training image that is nearest to it
        ("distance", pa.float64()),  # ℓ2, pixels in [0, 1]
        ("hard", pa.bool_()),  # the image at the 90th percentile of these distances
        *_IMAGE,  # of the test image; null unless it is one of those that are reconstructed
        ("nearest_pixels", pa.binary()),  # the same of the nearest training image
        ("validation_images", pa.int64()),  # images of the test subset that were set apart, and are not among these
        ("neighbour_images", pa.int64()),  # images that were asked for
        ("reconstruction_images", pa.int64()),  # and how many of them are reconstructed
    ]
)
"""Per split and what its test images depend on, the distance of test images to their nearest training image."""

NEIGHBOURS_KEY = ("dataset", "split", "study_seed", "validation_images", "neighbour_images", "reconstruction_images")
"""Columns that tell apart the rows of different files of `NEIGHBOURS`."""

TRAJECTORIES = pa.schema(
    [
        *_IDENTITY,
        ("step", pa.int64()),  # steps taken when the values were measured
        ("images", pa.int64()),  # behind the values of this row
        ("distortion", pa.float64()),  # D at that step
        ("rate", pa.float64()),  # R at that step
        ("elbo", pa.float64()),  # -(D + R)
        ("distortion_floor", pa.float64()),  # of the images of this row
    ]
)
"""One row per member, subset and step."""

EXAMPLES = pa.schema(
    [
        ("dataset", pa.string()),  # that the image is of
        ("image", pa.int64()),  # index in the data set
        *_IMAGE,
        ("factor_names", pa.list_(pa.string())),  # of the data set
        ("factors", pa.list_(pa.float64())),  # in the unit cube; empty where the data set has none
    ]
)
"""A few images of each data set, so that a report needs no data."""

TABLES = {
    "members": MEMBERS,
    "trajectories": TRAJECTORIES,
    "measures": MEASURES,
    "own_measures": OWN_MEASURES,
    "probes": PROBES,
    "reconstructions": RECONSTRUCTIONS,
    "samples": SAMPLES,
    "neighbours": NEIGHBOURS,
    "examples": EXAMPLES,
}

OF_MEMBERS = {
    "trajectories": ("member_id", "subset", "step"),
    "measures": ("member_id", "subset", "measures_id"),
    "own_measures": ("member_id", "subset", "measures_id", "name"),
    "probes": ("member_id", "measures_id", "image"),
    "reconstructions": ("member_id", "measures_id", "image"),
    "samples": ("member_id", "measures_id", "kind", "dimension", "position"),
}
"""Tables whose rows belong to the run of a member, and the columns in which no two rows of them agree."""

KEYS = {
    "members": ("member_id", "subset"),
    **OF_MEMBERS,
    "examples": ("dataset", "image"),
    "neighbours": (*NEIGHBOURS_KEY, "image"),
}
"""The columns in which no two rows that are read of a table agree, whatever files they are in."""

REQUIRED = {
    "members": ("member_id", "run_id", "subset", "outcome"),
    "trajectories": ("member_id", "run_id", "subset", "step"),
    "measures": ("member_id", "run_id", "subset", "measures_id"),
    "own_measures": ("member_id", "run_id", "subset", "measures_id", "name", "unit"),
    "probes": ("member_id", "run_id", "measures_id", "image", "in_train"),
    "reconstructions": ("member_id", "run_id", "measures_id", "image", "pixels"),
    "samples": ("member_id", "run_id", "measures_id", "kind", "position", "pixels"),
    "neighbours": ("dataset", "split", "study_seed", "image", "nearest_image"),
    "examples": ("dataset", "image", "pixels"),
}
"""The columns of which every row has a value: a file without them is of another table."""
