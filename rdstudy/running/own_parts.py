"""A user's own parts on their way: held against their contracts, carried to where packs are run, kept for the record.

What lies in a store is read back only where the user says that it is trusted: see `know_parts`.
"""

from collections.abc import Iterable

from rdstudy.datasets import dataset_info
from rdstudy.results.store import Store
from rdstudy.study import Measures, Member, Study, parts
from rdstudy.study.member import Cell
from rdstudy.study.sources import Source, keep_sources


def check_study(study: Study) -> None:
    """Hold the parts of a study that are a user's own against their contracts; PyTorch is imported for these alone.

    Raises:
        ValueError: one of them breaks a rule.
    """
    cells = _own_cells(study)
    if cells:
        from rdstudy.training.contract import check_own_parts

        for cell in cells:
            check_own_parts(cell, dataset_info(cell.dataset).image_shape)
    if study.measures.own:
        from rdstudy.measuring.contract import check_own_measure

        member = next(iter(study.experiments[0].members(study)))
        for level in study.measures.own:
            check_own_measure(level, member, dataset_info(member.dataset).image_shape)


def _own_cells(study: Study) -> list[Cell]:
    """Cells of the study that name a part of the user's own."""
    fixed = any(parts.is_own(getattr(study.recipe, kind)) for kind in parts.KINDS if hasattr(study.recipe, kind))
    own = [
        experiment
        for experiment in study.experiments
        if fixed or any(parts.is_own(level) for kind in parts.KINDS for level in experiment.grid.get(kind, ()))
    ]
    cells = dict.fromkeys(member.cell for experiment in own for member in experiment.members(study))
    return [cell for cell in cells if own_levels(cell)]


def own_levels(cell: Cell) -> list[str]:
    """The levels of a cell or member that name a part of the user's own."""
    return [level for kind in parts.KINDS if parts.is_own(level := cell.level(kind))]


def sources_of(study: Study, members: Iterable[Member]) -> dict[str, Source]:
    """The files that members and their measures need and no library has, by digest.

    Raises:
        ValueError: one of them is not known here.
    """
    of_members = (level for cell in dict.fromkeys(m.cell for m in members) for level in own_levels(cell))
    return parts.own_sources([*of_members, *study.measures.own])


def keep_copies(store: Store, study: Study, members: Iterable[Member]) -> None:
    """Keep a copy of each of these files in the store, and of those of figures, for the record."""
    figures = [name for experiment in study.experiments for name in experiment.figures if parts.is_own(name)]
    for source in {**sources_of(study, members), **parts.own_sources(figures)}.values():
        store.blobs.write_part(source)


def know_parts(store: Store, member: Member, measures: Measures, *, trust_code: bool) -> None:
    """Make the files known that a member of a store and its measures need.

    With `trust_code`, the user has said that the store's copies may be run.

    Raises:
        ValueError: one is not known, and the store's copy is not trusted, or not there, or damaged.
    """
    for level in (*own_levels(member), *measures.own):
        if parts.is_known(level):
            continue
        digest = parts.digest_of(level)
        source = store.blobs.part_source(digest)
        if source is None:
            raise ValueError(f"the code of {level} is not in {store.uri}; allowed: a study file that has it")
        if not trust_code:
            raise ValueError(
                f"model {member.member_id} runs code of {source.name} ({digest}) in {store.uri}; allowed: --study with "
                "the study file that has it, or --trust-code to run that copy"
            )
        keep_sources({digest: source})
