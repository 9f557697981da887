"""Data sets: files on disk, or a generator, to images and factors. Knows nothing of splits, models or studies."""

from rdstudy.datasets.registry import Dataset, DatasetInfo, dataset_info

__all__ = ["Dataset", "DatasetInfo", "dataset_info"]
