"""Data sets: files on disk, or a generator, to images and factors. Knows nothing of splits, models or studies."""

from rdstudy.datasets.dataset import Dataset, DatasetInfo
from rdstudy.datasets.own import own_dataset
from rdstudy.datasets.pictures import images_from_folder
from rdstudy.datasets.registry import dataset_info

__all__ = ["Dataset", "DatasetInfo", "dataset_info", "images_from_folder", "own_dataset"]
