"""What is wanted: a study, its experiments and settings, the members that they ask for. Standard library alone.

    study.py      a study and an experiment
    member.py     a member, its cell and its id
    factors.py    every setting of a member: the factors of a grid, and what a study fixes
    settings.py   how members are trained, measured and run
    claims/       what a study claims, in sentences that its tables decide
    studyfile.py  the file that defines a study
    shipped.py    the studies that come with the package
    bounds.py     how much of anything a study may ask for
    checks.py     checks of what a user declares
    seeds.py      seeds, from an identity and a purpose

A study file needs no other import than this one.
"""

from rdstudy.study.factors import FACTORS
from rdstudy.study.member import NUMERICS_VERSION, Cell, Member
from rdstudy.study.parts import part
from rdstudy.study.settings import MEASURES, Evaluation, Measures, Recipe, Resources
from rdstudy.study.study import FIGURES, PAPER_BETAS, Experiment, Study

__all__ = [
    "FACTORS",
    "FIGURES",
    "MEASURES",
    "NUMERICS_VERSION",
    "PAPER_BETAS",
    "Cell",
    "Evaluation",
    "Experiment",
    "Measures",
    "Member",
    "Recipe",
    "Resources",
    "Study",
    "part",
]
