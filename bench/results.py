"""All that a run found out, and its form on disk. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.processors import name_of
from bench.spread import Spread, ratios

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = 2
"""Of the form of results.json: runs side by side, the newest of each machine."""

FIRST_VECTOR = "first vector"
"""Seconds from before the process was made until its first vector was there."""

RSS = "rss of 1"
PSS = "pss of 1"
RSS_FOUR = "rss of 4"
PSS_FOUR = "pss of 4"
"""Bytes after loading and one encoded text, of one process or of four at the same time together."""

PROCESSES = 4
CALLERS = 8
_DIRECTORIES = re.compile(r"(?<![\w:/.])/(?:[^\s/:'\"]+/)+")
"""Of an absolute path: those of one machine are of no use on another."""

KINDS = ("short", "long", "mixed")


WAYS = ((1, 1), (1, CALLERS), (CALLERS, CALLERS))
"""How texts are encoded: by how many callers, in how many calls. The second is what the third is compared with."""


SINGLE_CALLERS = 50
SINGLES = "single short texts, one caller"
SINGLES_AT_ONCE = f"single short texts, {SINGLE_CALLERS} threads"
"""Texts per second of calls with one text each: one by one, or by as many callers at the same time."""


def throughput(kind: str, callers: int, calls: int) -> str:
    """Return the name of a throughput in texts per second."""
    return f"throughput of {kind} texts, {way(callers, calls)}"


def way(callers: int, calls: int) -> str:
    """Say in words how texts are encoded."""
    if callers > 1:
        return f"{callers} threads"
    return "one caller" if calls == 1 else f"one caller, {calls} calls"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One value that was measured.

    Attributes:
        metric: What, as named in this module.
        subject: Name of the subject, such as ``mini/onnx-fp32``, or of the part of this project.
        repetition: Values with the same number were measured together, and may be divided by each other.
        value: In seconds, bytes, texts per second or bytes per second.
    """

    metric: str
    subject: str
    repetition: int
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What could not be measured, and why."""

    subject: str
    metric: str
    reason: str


@dataclass
class Results:
    """One run.

    Attributes:
        is_quick: Whether it was cut short; its figures are for trying things out.
        started: When, in UTC.
        machine: See :func:`bench.machine.describe_machine`.
        versions: Version of each distribution, by environment.
        bundles: Digests and variants of the bundles, by model.
        settings: Repetitions and sizes.
        agreement: Smallest cosine of each subject's vectors to those of the reference, by subject.
        imported: Which heavy libraries the process of each subject had imported, by subject.
        measurements: Every single value.
        failures: What has no value.
    """

    is_quick: bool
    started: str
    machine: dict[str, Any]
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    bundles: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)
    imported: dict[str, list[str]] = field(default_factory=dict)
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @property
    def models(self) -> set[str]:
        """The first part of the names of all subjects that were measured, or failed."""
        subjects = [one.subject for one in self.measurements] + [one.subject for one in self.failures]
        return {subject.partition("/")[0] for subject in subjects}

    def add(self, metric: str, subject: str, repetition: int, value: float) -> None:
        """Record one value."""
        self.measurements.append(Measurement(metric=metric, subject=subject, repetition=repetition, value=value))

    def fail(self, metric: str, subject: str, reason: str) -> None:
        """Record that there is no value, once for each reason; files in it are named without their directories."""
        failure = Failure(subject=subject, metric=metric, reason=_DIRECTORIES.sub("", reason))
        if failure not in self.failures:
            self.failures.append(failure)

    def has_failed(self, subject: str, metric: str) -> bool:
        """Return whether there is a reason why a subject has no value of a metric."""
        return any(failure.subject == subject and failure.metric in ("", metric) for failure in self.failures)

    def values(self, metric: str, subject: str) -> dict[int, float]:
        """Return the values of one metric of one subject, by repetition."""
        return {
            measurement.repetition: measurement.value
            for measurement in self.measurements
            if (measurement.metric, measurement.subject) == (metric, subject)
        }

    def spread(self, metric: str, subject: str) -> Spread | None:
        """Return median and quartiles, or None where nothing was measured."""
        values = self.values(metric, subject)
        return Spread.of(list(values.values())) if values else None

    def ratio(self, numerator: tuple[str, str], denominator: tuple[str, str], times: float = 1.0) -> Spread | None:
        """Return the spread of a ratio that is taken repetition by repetition, or None where a side is missing.

        Each side is a metric and a subject; ``times`` multiplies the denominator.
        """
        found = ratios(self.values(*numerator), self.values(*denominator), times)
        return Spread.of(found) if found else None

    def reason(self, subject: str, metric: str) -> str:
        """Return why there is no value."""
        found = [
            failure.reason for failure in self.failures if failure.subject == subject and failure.metric in ("", metric)
        ]
        return "; ".join(dict.fromkeys(found)) or "not measured"

    def to_document(self, budgets: list[dict[str, Any]]) -> dict[str, Any]:
        """Return one run of results.json; ``budgets`` are for readers, and are computed anew when it is read."""
        summary = [
            {"metric": metric, "subject": subject, **asdict(Spread.of(list(self.values(metric, subject).values())))}
            for metric, subject in dict.fromkeys((one.metric, one.subject) for one in self.measurements)
        ]
        return {"name": name_of(self.machine), **asdict(self), "summary": summary, "budgets": budgets}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Results:
        """Return the run that :meth:`to_document` wrote."""
        values = {key: value for key, value in document.items() if key not in ("name", "summary", "budgets")}
        values["measurements"] = [Measurement(**one) for one in values["measurements"]]
        values["failures"] = [Failure(**one) for one in values["failures"]]
        return cls(**values)


def to_json(documents: Sequence[dict[str, Any]]) -> str:
    """Return the content of results.json, of runs as :meth:`Results.to_document` gives them."""
    return json.dumps({"version": VERSION, "runs": list(documents)}, indent=1, ensure_ascii=False) + "\n"


def read_runs(file: Path) -> list[Results]:
    """Read what :func:`to_json` wrote.

    Raises:
        ValueError: It is of another version, or no results at all.
    """
    document = json.loads(file.read_bytes())
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ValueError(f"{file}: expected results of version {VERSION}, found something else")
    return [Results.from_document(run) for run in document["runs"]]


def together(runs: Sequence[Results], new: Results, model: str) -> Results:
    """Return what was found out of one model, with what an older run of the same machine found out of others.

    Another version of anything, or other repetitions or sizes, makes a run of its own.
    """
    old = next((run for run in runs if name_of(run.machine) == name_of(new.machine)), None)
    if old is None or (old.versions, old.settings["counts"]) != (new.versions, new.settings["counts"]):
        return new

    def is_other(subject: str) -> bool:
        return subject.partition("/")[0] != model

    return replace(
        new,
        bundles={name: bundle for name, bundle in old.bundles.items() if name != model} | new.bundles,
        agreement={name: cosine for name, cosine in old.agreement.items() if is_other(name)} | new.agreement,
        imported={name: libraries for name, libraries in old.imported.items() if is_other(name)} | new.imported,
        measurements=[one for one in old.measurements if is_other(one.subject)] + new.measurements,
        failures=[one for one in old.failures if is_other(one.subject)] + new.failures,
    )


def beside(runs: Sequence[Results], new: Results) -> list[Results]:
    """Return the runs with a new one, which takes the place of an older one of the same machine, at the front."""
    return [new, *(run for run in runs if name_of(run.machine) != name_of(new.machine))]
