"""Rate-distortion studies of variational autoencoders, thousands of small models wide.

    rdstudy.Study, Experiment, Recipe, ...       declare what is wanted, in a study file
    rdstudy.part("nets.py:residual")             name a part of your own
    rdstudy.own_dataset, images_from_folder      make images of your own a data set
    rdstudy.figure("results", "learning")        a figure of a study, in a notebook
    rdstudy.load("results")                      its tables, and the models that were kept
    rdstudy.load_model("x.safetensors")          the model in one file

A name is imported when it is first used: `import rdstudy` alone imports nothing heavy.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdstudy.datasets import images_from_folder, own_dataset
    from rdstudy.notebook import load, load_model
    from rdstudy.report.notebook import figure, figure_table
    from rdstudy.study import Evaluation, Experiment, Measures, Recipe, Resources, Study, part

__all__ = [
    "Evaluation",
    "Experiment",
    "Measures",
    "Recipe",
    "Resources",
    "Study",
    "__version__",
    "figure",
    "figure_table",
    "images_from_folder",
    "load",
    "load_model",
    "own_dataset",
    "part",
]

__version__ = "0.1.0"

_HOMES = {
    "rdstudy.study": ("Evaluation", "Experiment", "Measures", "Recipe", "Resources", "Study", "part"),
    "rdstudy.datasets": ("images_from_folder", "own_dataset"),
    "rdstudy.notebook": ("load", "load_model"),
    "rdstudy.report.notebook": ("figure", "figure_table"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; allowed: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
