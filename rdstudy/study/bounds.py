"""The most that a study may ask for: more is a mistake, or no memory and no table holds it.

A number that no memory holds is told before anything is built of it; what the data themselves allow is told by a plan.
"""

MOST_MEMBERS = 100_000
"""Of a study, all its experiments together: sixteen times the paper's. They are planned in some ten seconds; each is
files of its own and a dot on the page."""

MOST_PARAMETERS = 10**10
"""Of one member: with gradients and Adam's moments 160 GB, the memory of the largest GPUs."""

MOST_IMAGES = 10**9
"""No data set has as many: a sample of more is all of it."""

MOST = {
    "depth": 1_000,
    "width": 2**16,  # a layer of as many inputs takes 17 GB
    "latent_dim": 2**16,
    "steps": 10**12,  # decades, at the least time of a step
    "batch_size": 10**6,  # images of the usual size take 12 GB
    "trajectory_points": 10_000,  # rows of a member in the tables, and points of a curve
    "trajectory_images": MOST_IMAGES,
    "final_images": MOST_IMAGES,
    "validation_images": MOST_IMAGES,
    "aggregate_images": MOST_IMAGES,
    "latent_samples": 10**7,
    "importance_images": 10**6,
    "importance_samples": 10**7,
    "refit_steps": 10**6,
    "memorization_images": MOST_IMAGES,
    "neighbour_images": MOST_IMAGES,
    "probe_images": 10**5,  # rows of a member
    "reconstruction_images": 1_000,  # pictures of a member
    "annealing_images": 10**5,
    "annealing_temperatures": 10**6,
    "cpus": 10_000,
    "pack_size": MOST_MEMBERS,
    "devices": 10_000,
}
"""Whole numbers, by the names of factors and settings; seeds may be any that a column holds."""

MOST_GIB = 2.0**20
"""Of memory: a pebibyte."""
MOST_USD = 1e6
"""For one device and hour."""
MOST_SECONDS = 1e10
"""Between two checkpoints: three centuries, for none."""

MOST_CONTRASTS = 1_000
"""Of all claims of a study, those inside others too; the paper's eleven claims have some sixty."""
MOST_NESTED = 10
"""Contrasts inside each other."""

MOST_NAME = 1_000
"""Letters of a level that is a name, a title, or another line of text."""
MOST_TEXT = 100_000
"""Letters of a paragraph, or of a value after `--set`."""
MOST_FILE_BYTES = 4 * 2**20
"""Of a study file: compiled in some seconds. Data belong in a file beside it."""
