"""Images of one's own that a study names and this node lacks: they come from the results folder that has them."""

import functools

from rdstudy.datasets.own import install_own, is_own_name, own_info
from rdstudy.results.store import Store
from rdstudy.study import Study


def install_stored_images(study: Study, out: str) -> None:
    """Put the images that a study names into this node's cache, where a results folder holds them by that name.

    What neither has is left to the plan, which says so. The results folder may not be there yet.

    Raises:
        ValueError: what came is something else, or the folder cannot be read.
    """
    names = {name for experiment in study.experiments for name in experiment.grid["dataset"]}
    lacking = [name for name in sorted(names) if is_own_name(name) and own_info(name) is None]
    if lacking and Store.exists(out):
        store = Store.open(out)
        for name in lacking:
            install_own(name, functools.partial(store.blobs.fetch_dataset_file, name))
