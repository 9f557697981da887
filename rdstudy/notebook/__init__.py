"""What was trained, for a person's own code: the tables of a store as data frames, and its models.

Which rows count is decided in `rdstudy.results`, what a column means is said in `rdstudy.results.schema`. Knows no
chart and no verdict; PyTorch is imported when a model is asked for.
"""

from rdstudy.notebook.loaded import Results, load, load_model

__all__ = ["Results", "load", "load_model"]
