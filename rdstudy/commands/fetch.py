"""Downloads the data sets of a study before it is run, and makes this node's cache of their images.

    rdstudy fetch STUDY [--only EXPERIMENT]...

A node without a network then needs none. Exit status: 0; 2 bad input, or data that cannot be had.
"""

import argparse
from collections.abc import Sequence

from rdstudy.commandline import Parser, complete, run_command
from rdstudy.study.shipped import shipped_studies
from rdstudy.study.studyfile import load_study


def main(arguments: Sequence[str] | None = None, *, prog: str = "rdstudy fetch") -> int:
    """Run the command and return its exit status."""
    return run_command(make_parser(prog), _fetch, arguments)


def make_parser(prog: str) -> Parser:
    """What the command takes."""
    parser = Parser(prog=prog, description="Download the data of a study before it is run.")
    study = parser.add_argument("study", metavar="STUDY", help="a study file; or a study that comes with rdstudy")
    complete(study, lambda _: shipped_studies(), files=True)
    parser.add_list("--only", "EXPERIMENT", "of these experiments only")
    return parser


def _fetch(options: argparse.Namespace) -> int:
    from rdstudy.datasets import dataset_info
    from rdstudy.planning.plan import make_plan

    plan = make_plan(load_study(options.study), {}, only=options.only)
    for name in sorted({member.dataset for member in plan.wanted}):
        info = dataset_info(name)
        print(f"{name}: {info.images:,} images of {' × '.join(map(str, info.image_shape))} ...", flush=True)
        info.load()
        print(f"{name}: here", flush=True)
    return 0
