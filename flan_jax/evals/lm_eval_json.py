# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tables of scores as results of lm-evaluation-harness (its release 0.4.13), and back.

Ours and theirs:

    subtask anatomy of benchmark mmlu        task mmlu_anatomy of the group mmlu
    its _mean, and _mean.stem                the groups mmlu and mmlu_stem
    exact_match, exact_match/flexible        "exact_match,none", "exact_match,flexible"
    accuracy, in percent                     "acc,none", a fraction

What a table says and the harness has no place for (the protocol, n of a mean, settings of a run) is
kept in the metadata of `configs` and in `config`, so that a table comes back as it was. Of results
of the harness itself, a group is a benchmark; groups within it are means over some of its tasks;
standard errors are taken as they are, so those of groups are over examples, not over tasks.
"""

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flan_jax.core import files
from flan_jax.core.errors import DataError, UsageError
from flan_jax.evals import metrics, scores
from flan_jax.evals.scores import MEAN, Score

UNKNOWN = "N/A"  # how the harness writes a standard error that it has not
_THEIR_NAMES = {"accuracy": "acc"}
_OUR_NAMES = {theirs: ours for ours, theirs in _THEIR_NAMES.items()}
# What is a percentage here and a fraction there; all else has the same scale.
_FRACTIONS = frozenset(
    {*metrics.METRICS, "unparsed", "acc_norm", "acc_bytes", "acc_mutual_info", "acc_all", "f1"}
)
_OURS = "flan_jax"  # where what only we say is kept

Json = dict[str, Any]
_Identity = tuple[str, str, str]  # benchmark, protocol, subtask


def write_results(table: str | os.PathLike, results: str | os.PathLike) -> None:
    """Writes the results of the harness that a table of one run stands for.

    Raises:
        UsageError: the table is of several runs.
        DataError: it is malformed.
    """
    if not os.path.isfile(table):
        raise UsageError(f"no table of scores {str(table)!r}; name a scores.csv")
    files.write_json(results, to_results(scores.read_scores(table), place=str(table)))


def write_table(results: str | os.PathLike, table: str | os.PathLike) -> None:
    """Writes the table of scores that results of the harness stand for.

    Raises:
        UsageError: there is no such file.
        DataError: it is malformed.
    """
    if not os.path.isfile(results):
        raise UsageError(f"no results {str(results)!r}; name a results_*.json of the harness")
    scores.write_scores(table, to_scores(files.read_json(results), place=str(results)))


def to_results(rows: Sequence[Score], place: str = "the table") -> Json:
    """Returns rows of one run as the harness's results.

    Args:
        rows: the table.
        place: where it was found, for messages.

    Raises:
        UsageError: they are of several runs, or there are none.
    """
    runs = {(r.model, r.step, tuple(sorted(r.settings.items()))): r for r in rows}
    if len(runs) != 1:
        named = ", ".join(f"{model} at step {step}" for model, step, _ in list(runs)[:3])
        raise UsageError(
            f"{place} is of {len(runs)} runs ({named}), results are of one; keep the rows of one"
        )
    run = next(iter(runs.values()))
    names = _names(rows)
    found: Json = {key: {} for key in ("results", "groups", "group_subtasks", "configs")}
    found |= {"versions": {}, "n-shot": {}, "n-samples": {}}
    for row in rows:
        identity = row.benchmark, row.protocol, row.subtask
        name = names[identity]
        key, stderr_key = _keys(row.metric)
        scale = _scale(row.metric)
        values = found["results"].setdefault(name, {"name": name, "alias": name})
        values[key] = _rounded(row.value / scale)
        values[stderr_key] = UNKNOWN if row.stderr is None else _rounded(row.stderr / scale)
        config = found["configs"].setdefault(name, {"task": name, "metadata": {}})
        ours = config["metadata"].setdefault(_OURS, {"of": list(identity), "n": {}})
        ours["n"][key] = row.n
        if shots := re.match(r"(\d+)-shot", row.protocol):
            found["n-shot"][name] = int(shots[1])
        if scores.is_mean(row.subtask):
            found["groups"][name] = values
            continue
        most = max(row.n, found["n-samples"].get(name, {}).get("effective", 0))
        found["n-samples"][name] = {"original": most, "effective": most}
        if group := names.get((row.benchmark, row.protocol, MEAN)):
            members = found["group_subtasks"].setdefault(group, [])
            members += [] if name in members else [name]
    found["config"] = {"model": run.model, _OURS: {"step": run.step, **_of_settings(run)}}
    found["model_name"] = run.model
    return found


def to_scores(found: Any, place: str = "the results") -> list[Score]:
    """Returns the rows of results, of the harness's own or made by `to_results`.

    Raises:
        DataError: they are none.
    """
    results = _part(found, "results", place)
    config = found.get("config") if isinstance(found.get("config"), dict) else {}
    kept = config.get(_OURS) or {}
    model = config.get("model_name") or found.get("model_name") or config.get("model") or ""
    step = kept.get("step", config.get("model_step", 0))
    rows = []
    for name in results:
        benchmark, protocol, subtask = _identity(found, name)
        for key, value in _part(results, name, f"{place}: results").items():
            metric, comma, filtered = key.partition(",")
            if not comma or metric.endswith("_stderr"):
                continue
            where = f"{place}: {name}: {key}"
            stderr = results[name].get(f"{metric}_stderr,{filtered}")
            ours = _OUR_NAMES.get(metric, metric)
            named = ours if filtered == "none" else f"{ours}/{filtered}"
            scale = _scale(named)
            rows.append(
                Score(
                    model=str(model),
                    step=int(step),
                    benchmark=benchmark,
                    protocol=protocol,
                    subtask=subtask,
                    metric=named,
                    value=_number(value, where, scale) * scale,
                    n=_count(found, name, key),
                    stderr=None if stderr in (None, UNKNOWN) else _number(stderr, where) * scale,
                    settings=kept.get("settings", {}),
                )
            )
    return rows


def _names(rows: Iterable[Score]) -> dict[_Identity, str]:
    """Returns what the harness calls each subtask and mean: no two have one name."""
    identities = list(dict.fromkeys((r.benchmark, r.protocol, r.subtask) for r in rows))
    protocols: dict[str, set[str]] = {}
    for benchmark, protocol, _ in identities:
        protocols.setdefault(benchmark, set()).add(protocol)
    names: dict[_Identity, str] = {}
    for benchmark, protocol, subtask in identities:
        part = scores.group_of(subtask) if scores.is_mean(subtask) else subtask
        if part == benchmark and (benchmark, protocol, MEAN) not in identities:
            part = ""
        name = f"{benchmark}_{part}" if part else benchmark
        if len(protocols[benchmark]) > 1:
            name = f"{name} ({protocol})"
        while name in names.values():  # a group that is called as a subtask is
            name = f"{name}_"
        names[benchmark, protocol, subtask] = name
    return names


def _keys(metric: str) -> tuple[str, str]:
    """Returns the harness's keys of a metric and of its standard error."""
    name, _, label = metric.partition("/")
    name = _THEIR_NAMES.get(name, name)
    return f"{name},{label or 'none'}", f"{name}_stderr,{label or 'none'}"


def _scale(metric: str) -> float:
    return 100.0 if metric.partition("/")[0] in _FRACTIONS else 1.0


def _rounded(value: float) -> float:
    return round(value, 8)  # tables have four decimals of percentages


def _of_settings(run: Score) -> Json:
    return {"settings": dict(run.settings)} if run.settings else {}


def _identity(found: Json, name: str) -> _Identity:
    """Returns the benchmark, protocol and subtask of a task or group."""
    of = _kept(found, name).get("of")
    if of:
        return tuple(of)
    shots = (found.get("n-shot") or {}).get(name)
    protocol = "" if shots is None else f"{shots}-shot"
    members: Mapping[str, Sequence[str]] = found.get("group_subtasks") or {}
    root, seen = name, {name}
    while above := [group for group, names in members.items() if root in names]:
        if above[0] in seen:
            break
        root = above[0]
        seen.add(root)
    if not members.get(name):
        return root, protocol, name
    return root, protocol, MEAN if root == name else scores.group_mean(name)


def _count(found: Json, name: str, key: str) -> int:
    """Returns the examples of a task, or the tasks of a group; 0 where that is not said."""
    if key in (kept := _kept(found, name).get("n", {})):
        return int(kept[key])
    if members := (found.get("group_subtasks") or {}).get(name):
        return len(members)
    return int(((found.get("n-samples") or {}).get(name) or {}).get("effective", 0))


def _kept(found: Json, name: str) -> Json:
    """Returns what `to_results` kept of a task."""
    config = (found.get("configs") or {}).get(name) or {}
    return (config.get("metadata") or {}).get(_OURS) or {}


def _part(holder: Any, key: str, place: str) -> Json:
    value = holder.get(key) if isinstance(holder, dict) else None
    if not isinstance(value, dict):
        raise DataError(
            f"{place}: no object {key!r}; give a results_*.json of lm-evaluation-harness"
        )
    return value


def _number(value: Any, where: str, scale: float = 1.0) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{where}: need a number, found {value!r}")
    if scale != 1.0 and not 0 <= value <= 1:
        raise DataError(f"{where}: need a fraction from 0 to 1, found {value!r}")
    return float(value)
