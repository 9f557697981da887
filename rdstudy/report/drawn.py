"""Which chart of the page draws what a contrast compares: by its value and by the models that an experiment has."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from rdstudy.report.page import ExperimentSection
from rdstudy.results.declaration import DeclaredExperiment
from rdstudy.study.claims import Arm, Contrast
from rdstudy.study.claims.contrasts import OWN

_CURVES = ("distortion", "rate-distortion", "sizes-distortion", "sizes-rate-distortion")
_FIGURES: Mapping[str, Sequence[str]] = {
    "distortion": _CURVES,
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
class Link:
    """Where something stands on the page: its anchor and name, empty where it does not."""

    anchor: str = ""
    where: str = ""


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

    def named(self, figure: str) -> Link:
        """A figure by its key, or else the experiment that should have it."""
        fallback = Link()
        for section in self.sections:
            for shown in section.figures:
                if shown.key == figure:
                    return Link(f"figure-{shown.key}", f"{section.title}: {shown.title}")
            if figure == section.name or figure.startswith(f"{section.name}-"):
                fallback = Link(f"experiment-{section.name}", section.title)
        return fallback

    def of_contrast(self, contrast: Contrast, figure: str) -> Link:
        """The chart that draws a contrast: that of its claim where it does so, else the one with most of its models.

        Args:
            contrast: what is compared.
            figure: key of the claim's figure, which is linked where no chart draws the contrast.
        """
        names = _names(contrast)
        arms = [] if contrast.kind == "distances_alike" else [self._ids(arm) for arm in contrast.cells()]
        best, most = figure, -1
        for section in sorted(self.sections, key=lambda section: not figure.startswith(f"{section.name}-")):
            keys = [shown.key for shown in section.figures]
            drawing = [key for name in names if (key := f"{section.name}-{name}") in keys]
            whole = sum(bool(ids) and ids <= self.members.get(section.name, frozenset()) for ids in arms)
            if drawing and whole > most and (whole or not arms):
                best, most = figure if figure in drawing else drawing[0], whole
        return self.named(best)

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
