"""Data sets: files on disk, or a generator, to images and factors. Knows nothing of splits, models or studies."""

from rdstudy.datasets.dataset import Dataset, DatasetInfo
from rdstudy.datasets.own import own_dataset
from rdstudy.datasets.pictures import Pictures, images_from_folder, pictures_from_folder
from rdstudy.datasets.registry import dataset_info

__all__ = [
    "Dataset",
    "DatasetInfo",
    "Pictures",
    "dataset_info",
    "images_from_folder",
    "own_dataset",
    "pictures_from_folder",
]
