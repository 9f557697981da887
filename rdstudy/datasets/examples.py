"""A few images of a data set as rows of the `examples` table, so that a report needs no data."""

from typing import Any

import numpy as np

from rdstudy.datasets.registry import dataset_info
from rdstudy.study.seeds import derive_seed

EXAMPLES = 60


def example_rows(name: str) -> list[dict[str, Any]]:
    """Rows of a fixed random choice of images, in the columns of `rdstudy.results.schema.EXAMPLES`."""
    info = dataset_info(name)
    data = info.load()
    rng = np.random.default_rng(derive_seed(name, "examples"))
    chosen = rng.choice(info.images, min(EXAMPLES, info.images), replace=False)
    channels, height, width = info.image_shape
    return [
        {
            "dataset": name,
            "image": int(image),
            "channels": channels,
            "height": height,
            "width": width,
            "pixels": data.images[image].tobytes(),
            "factor_names": list(info.factor_names),
            "factors": [] if data.factors is None else data.factors[image].tolist(),
        }
        for image in chosen
    ]
