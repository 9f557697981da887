"""Images of one's own on a cluster: what one node puts into the store, a node with an empty cache gets from it."""

from functools import partial

import numpy as np
import pytest

from rdstudy.datasets import dataset_info, own_dataset
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.own import install_own, own_files
from rdstudy.results.store import Store

IMAGES = np.random.default_rng(3).integers(0, 256, (13, 3, 5, 7), np.uint8)


def test_a_node_with_another_cache_gets_the_images_from_the_store(uri, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "one"))
    name = own_dataset("faces", IMAGES)
    Store.create(uri).blobs.write_dataset(name, own_files(name))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "two"))
    store = Store.open(uri)
    install_own(name, partial(store.blobs.fetch_dataset_file, name))
    assert np.array_equal(dataset_info(name).load().images, IMAGES)


def test_images_that_are_in_no_store_are_the_error_of_the_data_set(uri, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "one"))
    name = own_dataset("faces", IMAGES)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "two"))
    install_own(name, partial(Store.create(uri).blobs.fetch_dataset_file, name))
    with pytest.raises(ValueError, match="or what own_dataset returned on this node"):
        dataset_info(name)
