"""The statistics of transitions as text for a terminal of 120 columns."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

from temporalpairs.report.transitions import (
    MAX_MI_TRANSITIONS,
    FactorStatistics,
    GroupStatistics,
    TransitionStatistics,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = 16  # columns for the name of a category
_NONE = "–"  # stands for what there is not


def write_text(statistics: TransitionStatistics) -> str:
    """Write the statistics: all transitions in detail, then a line for each factor of each category."""
    everything, *categories = statistics.groups
    lines = [statistics.title, f"{everything.count:,} transitions", "", *_detailed(everything)]
    if categories:
        lines += ["", "By category", *_compact(categories)]
    lines += ["", "Dependence of the differences", *_dependence(statistics.groups), ""]
    lines.append(
        "Differences of neighboring frames. Kurtosis: excess, 0 for a normal. Shape: 1 for a Laplace, 2 for a normal."
        "\nlog L: log-likelihood. D and p: Kolmogorov–Smirnov; p takes the fit for given and the transitions for\n"
        f"independent. MI: mutual information in nats, from {MAX_MI_TRANSITIONS:,} transitions at most "
        f"(seed {statistics.seed})."
    )
    if any(factor.generalized_normal.note and not factor.note for group in categories for factor in group.factors):
        lines.append("*: a fit to be read with care; the column `note` of the CSV tells why.")
    return "\n".join(lines)


def _detailed(group: GroupStatistics) -> Iterator[str]:
    yield (
        f"  {'factor':8}{'kurtosis':>10}   {'fit':20}{'shape':>8}{'location':>12}{'scale':>12}{'log L':>14}"
        f"{'D':>9}{'p':>9}"
    )
    for statistics in group.factors:
        label = f"  {statistics.factor:8}{_fixed(statistics.excess_kurtosis, 2):>10}   "
        if statistics.note:
            yield f"{label}{statistics.note}"
            continue
        for fit in statistics.fits:
            yield (
                f"{label}{fit.distribution:20}"
                + (
                    f"{_fixed(fit.shape, 3):>8}{_short(fit.location):>12}{_short(fit.scale):>12}"
                    f"{_fixed(fit.log_likelihood, 1):>14}{_fixed(fit.ks_statistic, 4):>9}{_chance(fit.ks_p):>9}"
                    if not isnan(fit.scale)
                    else fit.note
                )
            )
            label = " " * len(label)
        if statistics.generalized_normal.note and not isnan(statistics.generalized_normal.scale):
            yield f"{label}({statistics.generalized_normal.note})"


def _compact(groups: list[GroupStatistics]) -> Iterator[str]:
    yield f"{'':45}{'generalized normal':^33}{'Laplace':^18}{'normal':^18}".rstrip()
    yield (
        f"  {'category':{_NAME}}{'count':>9}  {'factor':6}{'kurtosis':>10}"
        f"{'shape':>7}{'log L':>12}{'D':>7}{'p':>7}" + f"{'log L':>12}{'p':>7}" * 2
    )
    for group in groups:
        label = f"  {_cut(group.name):{_NAME}}{group.count:>9,}  "
        if len({statistics.note for statistics in group.factors}) == 1 and group.factors[0].note:
            yield f"{label}{group.factors[0].note}"
            continue
        for statistics in group.factors:
            yield f"{label}{_compact_factor(statistics)}"
            label = " " * len(label)


def _compact_factor(statistics: FactorStatistics) -> str:
    if statistics.note:
        return f"{statistics.factor:6}{statistics.note:>{len(statistics.note) + 4}}"
    fit = statistics.generalized_normal
    shape = _fixed(fit.shape, 3) + ("*" if fit.note else "")
    line = (
        f"{statistics.factor:6}{_fixed(statistics.excess_kurtosis, 2):>10}{shape:>7}"
        f"{_fixed(fit.log_likelihood, 1):>12}{_fixed(fit.ks_statistic, 3):>7}{_chance(fit.ks_p):>7}"
    )
    return line + "".join(
        f"{_fixed(other.log_likelihood, 1):>12}{_chance(other.ks_p):>7}" for other in statistics.fits[1:]
    )


def _dependence(groups: tuple[GroupStatistics, ...]) -> Iterator[str]:
    titles = [" and ".join(pair.factors) for pair in groups[0].pairs]
    yield f"{'':29}" + "".join(f"{title:^28}" for title in titles).rstrip()
    yield f"  {'category':{_NAME}}{'count':>9}  " + f"{'Pearson r':>12}{'p':>8}{'MI':>8}" * len(titles)
    for group in groups:
        yield f"  {_cut(group.name):{_NAME}}{group.count:>9,}  " + "".join(
            f"{_fixed(pair.pearson_r, 3):>12}{_chance(pair.pearson_p):>8}{_fixed(pair.mutual_information, 3):>8}"
            for pair in group.pairs
        )


def _cut(name: str) -> str:
    return name if len(name) < _NAME else f"{name[: _NAME - 2]}…"


def _fixed(number: float, digits: int) -> str:
    return _NONE if isnan(number) else f"{number:,.{digits}f}"


def _short(number: float) -> str:
    return _NONE if isnan(number) else f"{number:.4g}"


def _chance(number: float) -> str:
    """Write a probability in at most six characters; one too small for a float64 as 0."""
    return _NONE if isnan(number) else "0" if number == 0 else f"{number:.2f}" if number >= 0.01 else f"{number:.0e}"
