"""The columns of every table: the contract between training and the report.

All values of rate, distortion and ELBO are in nats per image. A column is never renamed or removed: a new one is
added at the end, and reads as null from older files.
"""

import pyarrow as pa

_SETTINGS = [
    ("dataset", pa.string()),
    ("split", pa.string()),
    ("architecture", pa.string()),
    ("depth", pa.int64()),
    ("width", pa.int64()),
    ("latent_dim", pa.int64()),
    ("likelihood", pa.string()),
    ("objective", pa.string()),
    ("beta", pa.float64()),
    ("seed", pa.int64()),
    ("study_seed", pa.int64()),
    ("optimizer", pa.string()),
    ("learning_rate", pa.float64()),
    ("batch_size", pa.int64()),
    ("steps", pa.int64()),
]

_IDENTITY = [
    ("member_id", pa.string()),
    ("run_id", pa.string()),  # which training wrote the row: rows of one member are read from one run alone
    ("subset", pa.string()),  # train, test or validation
]

_PROVENANCE = [
    ("numerics_version", pa.int64()),
    ("code_version", pa.string()),  # package version and, in a checkout, the commit, with + where files differ from it
    ("python_version", pa.string()),
    ("torch_version", pa.string()),
    ("numpy_version", pa.string()),
    ("device", pa.string()),
    ("host", pa.string()),
    ("finished_at", pa.timestamp("us", tz="UTC")),
]

MEMBERS = pa.schema(
    [
        *_IDENTITY,
        *_SETTINGS,
        ("outcome", pa.string()),  # ok, nonfinite or failed
        ("reason", pa.string()),  # why, unless ok
        ("nonfinite_step", pa.int64()),  # the first step whose forward pass was not finite
        ("images", pa.int64()),  # images of the subset behind the values of this row
        ("subset_images", pa.int64()),  # images of the whole subset
        ("parameters", pa.int64()),  # trained numbers, encoder and decoder
        ("distortion", pa.float64()),  # D = -E log p(x|z), one z an image
        ("rate", pa.float64()),  # R = E KL(q(z|x) || p(z))
        ("elbo", pa.float64()),  # -(D + R)
        ("distortion_floor", pa.float64()),  # Bernoulli entropy of the same images' pixels: no decoder gets below it
        ("wall_seconds", pa.float64()),  # training and evaluation of this member, all its attempts together
        ("peak_memory_bytes", pa.int64()),  # of its unit: of CUDA tensors in its last attempt; of the process on a CPU
        *_PROVENANCE,
    ]
)
"""One row per member and subset."""

TRAJECTORIES = pa.schema(
    [
        *_IDENTITY,
        ("step", pa.int64()),  # steps taken when the values were measured
        ("images", pa.int64()),
        ("distortion", pa.float64()),
        ("rate", pa.float64()),
        ("elbo", pa.float64()),
        ("distortion_floor", pa.float64()),  # of the images of this row
    ]
)
"""One row per member, subset and step."""

EXAMPLES = pa.schema(
    [
        ("dataset", pa.string()),
        ("image", pa.int64()),  # index in the data set
        ("channels", pa.int64()),
        ("height", pa.int64()),
        ("width", pa.int64()),
        ("pixels", pa.binary()),  # uint8, channel by channel, row by row
        ("factor_names", pa.list_(pa.string())),
        ("factors", pa.list_(pa.float64())),  # in the unit cube; empty where the data set has none
    ]
)
"""A few images of each data set, so that a report needs no data."""

TABLES = {"members": MEMBERS, "trajectories": TRAJECTORIES, "examples": EXAMPLES}
