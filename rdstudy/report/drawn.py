"""Which chart of the page draws what a contrast compares: by its value and by the models that an experiment has."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rdstudy.report.figure import DISTORTIONS
from rdstudy.report.page import ExperimentSection, Link
from rdstudy.results.declaration import DeclaredExperiment
from rdstudy.study.claims import Arm, Contrast
from rdstudy.study.claims.contrasts import OWN

_FIGURES: Mapping[str, Sequence[str]] = {
    "distortion": DISTORTIONS,
    "distortion_gap": ("distortion", "sizes-distortion"),
    "rate": ("rate-distortion", "sizes-rate-distortion"),
    "negative_elbo": ("rate-distortion", "sizes-rate-distortion"),
    "stopped_distortion": ("early-stopping-distortion", "early-stopping"),
    "negative_log_marginal": ("log-marginal",),
    "elbo_gap": ("gap-parts",),
    "log_marginal_gap": ("log-marginal", "gap-parts"),
    "mutual_information": ("rate-parts",),
    "marginal_kl": ("rate-parts",),
    "information_share": ("rate-parts",),
    "copied_fraction": ("copied",),
    "memorization_excess": ("copied",),
}
"""Value -> names of figures that draw it, the plainest first."""


@dataclass(frozen=True)
class Charts:
    """The charts of a page, with the models that each section shows.

    Attributes:
        sections: of the page.
        members: section -> ids of its models.
        planned: one row per member of the study.
    """

    sections: Sequence[ExperimentSection]
    members: Mapping[str, frozenset[str]]
    planned: pd.DataFrame

    @classmethod
    def of(
        cls, sections: Sequence[ExperimentSection], experiments: Iterable[DeclaredExperiment], planned: pd.DataFrame
    ) -> "Charts":
        """The charts of a study's sections."""
        members = {experiment.name: frozenset(experiment.member_ids) for experiment in experiments}
        return cls(sections, members, planned)

    def named(self, figure: str) -> Link | None:
        """A figure by its key, or else the experiment that should have it; None where there is neither."""
        fallback = None
        for section in self.sections:
            for shown in section.figures:
                if shown.key == figure:
                    return Link(f"figure-{shown.key}", f"Figure {shown.number}: {shown.title}")
            if figure == section.name or figure.startswith(f"{section.name}-"):
                fallback = Link(f"experiment-{section.name}", section.title)
        return fallback

    def of_contrast(self, contrast: Contrast, figure: str) -> tuple[Link, ...]:
        """The charts that draw a contrast: that of its claim where it does so, else the one with most of its models.

        Further charts follow, of what none before them shows: the models compared may stand in two experiments.

        Args:
            contrast: what is compared.
            figure: key of the claim's figure, which is linked where no chart draws the contrast.
        """
        if contrast.kind == "distances_alike":
            keys = [drawing[0] for section in self._by_nearness(figure) if (drawing := _drawing(section, contrast))]
            return self._links(keys[:1] or [figure])
        missing, keys = [ids for arm in contrast.cells() if (ids := self._ids(arm))], []
        sections = [section for section in self._by_nearness(figure) if _drawing(section, contrast)]
        while missing and sections:
            best = max(sections, key=lambda section: len(self._shown(section, missing)))  # the first of equals
            shown = self._shown(best, missing)
            if not shown:
                break
            drawing = _drawing(best, contrast)
            keys.append(figure if figure in drawing else drawing[0])
            missing = [ids for ids in missing if ids not in shown]
        return self._links(keys or [figure])

    def _links(self, keys: Iterable[str]) -> tuple[Link, ...]:
        return tuple(link for key in keys if (link := self.named(key)))

    def _by_nearness(self, figure: str) -> list[ExperimentSection]:
        """The sections, that of a figure first."""
        return sorted(self.sections, key=lambda section: not figure.startswith(f"{section.name}-"))

    def _shown(self, section: ExperimentSection, arms: Iterable[frozenset[str]]) -> list[frozenset[str]]:
        """Those arms, as ids of models, that a section has as a whole."""
        return [ids for ids in arms if ids <= self.members.get(section.name, frozenset())]

    def _ids(self, arm: Arm) -> frozenset[str]:
        chosen = self.planned
        for factor, level in arm.items():
            chosen = chosen[chosen[factor] == level] if factor in chosen else chosen.iloc[:0]
        return frozenset(chosen["member_id"])


def _names(contrast: Contrast) -> Sequence[str]:
    if contrast.kind == "distances_alike":
        return ("neighbours",)
    value = str(contrast.settings.get("value", ""))
    return ("own-measures",) if value.startswith(OWN) else _FIGURES.get(value, ())


def _drawing(section: ExperimentSection, contrast: Contrast) -> list[str]:
    """Keys of a section's figures that draw the value of a contrast, the plainest first."""
    keys = [shown.key for shown in section.figures]
    return [key for name in _names(contrast) if (key := f"{section.name}-{name}") in keys]
