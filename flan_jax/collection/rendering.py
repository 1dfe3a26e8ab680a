# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From fields to prompt and target: pure functions of (spec, seed, split, index).

Template, prompt setting, exemplars, delimiter and option style are drawn from the example's own
key and recorded in its metadata. Every source row gives exactly one `Rendered` or one `Dropped`;
no text is cut without a note.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flan_jax.collection import options as options_lib
from flan_jax.collection import spec as spec_lib
from flan_jax.collection.few_shot import ExemplarPool
from flan_jax.collection.parsing import Malformed
from flan_jax.collection.prompts import FORWARD, OPTIONS_SLOT, Template
from flan_jax.collection.sources import choose
from flan_jax.collection.spec import Drop, Fields, TaskSpec
from flan_jax.core.errors import UsageError
from flan_jax.core.rng import ExampleKey

CountTokens = Callable[[str], int]

# The field that holds the answer: with enumerated options its mark replaces it in the target.
ANSWER = "answer"
GROUP = "group"
_RESERVED = (OPTIONS_SLOT, "references", GROUP)
_HEAD_GAP = "\n\n"

EMPTY_INPUT = "empty input"
EMPTY_TARGET = "empty target"
LONG_INPUT = "too long: input"
LONG_TARGET = "too long: target"
ODD_ANSWER = "answer is not among the options"
BEYOND_CAP = "beyond the cap"
SET_ASIDE = "set aside as an exemplar"
NO_EXEMPLARS = "no exemplar to show and no zero-shot template"


@dataclasses.dataclass(slots=True)
class Rendered:
    """One example as text."""

    inputs: str
    targets: str
    # task, template, direction, setting, drawn_setting, num_shots, num_shots_cut, option_style,
    # delimiter, exemplars, trimmed.
    meta: dict[str, Any]
    # All accepted target texts; `targets` is the first of them.
    references: list[str]
    index: int = -1


@dataclasses.dataclass(slots=True)
class Dropped:
    """A row that gives no example, and why."""

    index: int
    reason: str
    # File and line, if they are known: malformed rows say where they are.
    where: str = ""


def render(
    spec: TaskSpec,
    fields: Fields,
    *,
    key: ExampleKey,
    exemplars: ExemplarPool | None = None,
    count_tokens: CountTokens | None = None,
    feature_lengths: Mapping[str, int] | None = None,
    setting: str | None = None,
    train_index: int | None = None,
) -> Rendered:
    """Returns the example that `fields` give under `key`.

    Args:
        spec: the task.
        fields: what its mapping gave for a row.
        key: the example's random key.
        exemplars: rows for few-shot prompts; without them such a prompt becomes zero-shot.
        count_tokens: tokens of a text, without EOS; needed with lengths. If it has a method
            `at_most(text, limit)`, that is asked instead. Without it an exemplar budget is not
            applied.
        feature_lengths: most tokens of `inputs` and `targets`, the EOS included.
        setting: a prompt setting to use instead of drawing one.
        train_index: the row's index if it is of the train split: never its own exemplar.

    Raises:
        Drop: no example can be made within the lengths; or the fields give none.
        UsageError: no template serves the setting, or one asks for a field that is not given.
    """
    return _Renderer(spec, exemplars, count_tokens, feature_lengths, setting).render(
        fields, key, train_index
    )


def render_task(
    spec: TaskSpec,
    split: str,
    seed: int,
    *,
    count_tokens: CountTokens | None = None,
    feature_lengths: Mapping[str, int] | None = None,
    setting: str | None = None,
    limit: int | None = None,
) -> Iterator[Rendered | Dropped]:
    """Yields one `Rendered` or `Dropped` for every row of the split, in source order.

    The cap limits the train split: a seeded choice of at most `cap` rows is rendered, the others
    are dropped as such; malformed rows are dropped too and do not count towards it. `limit` ends
    the iteration after that many rendered examples.
    """
    if reason := spec.source.missing():
        raise UsageError(f"task {spec.name!r}: {reason}")
    if split not in spec.splits:
        raise UsageError(f"task {spec.name!r} has no split {split!r}; it has {spec.splits}")
    settings = [setting] if setting else [name for name, weight in spec.settings if weight > 0]
    pool = None
    if any(name in spec_lib.FEW_SHOT_SETTINGS for name in settings):
        pool = ExemplarPool.load(spec, seed)
    renderer = _Renderer(spec, pool, count_tokens, feature_lengths, setting)
    is_train = split == spec_lib.TRAIN
    chosen = None
    if is_train and spec.cap is not None:
        chosen = choose(spec.source.num_rows(split), spec.cap, seed, f"{spec.name}/cap")
    key_name = spec.name if is_train else f"{spec.name}/{split}"
    num_rendered, position = 0, -1
    for index, row in spec.source.rows(split):
        if isinstance(row, Malformed):
            drop = spec_lib.malformed(row)
            yield Dropped(index, drop.reason, drop.where)
            continue
        position += 1
        if chosen is not None and position not in chosen:
            yield Dropped(index, f"{BEYOND_CAP} of {spec.cap}")
            continue
        if is_train and pool is not None and index in pool.set_aside:
            yield Dropped(index, SET_ASIDE)
            continue
        try:
            fields = spec.map_row(row, split, index)
            key = ExampleKey(seed, key_name, index)
            example = renderer.render(fields, key, index if is_train else None)
        except Drop as drop:
            yield Dropped(index, drop.reason, drop.where)
            continue
        except UsageError as error:
            raise UsageError(f"row {index} of {split!r}: {error}") from None
        except Exception as error:
            error.add_note(f"while rendering row {index} of {split!r} of task {spec.name!r}")
            raise
        example.index = index
        yield example
        num_rendered += 1
        if limit is not None and num_rendered >= limit:
            return


class _DoesNotFit(Exception):  # noqa: N818 - asks for another form of the prompt
    """A few-shot prompt cannot be made of this row."""


class _Renderer:
    """Rendering of one task, with all that does not depend on the row worked out once."""

    def __init__(self, spec, exemplars, count_tokens, feature_lengths, setting):
        if setting is not None and setting not in spec_lib.SETTINGS:
            raise UsageError(f"setting {setting!r} must be one of {spec_lib.SETTINGS}")
        options_lib.check_styles(spec.option_styles, spec.name)
        if feature_lengths and count_tokens is None:
            raise UsageError(
                f"task {spec.name!r}: lengths need count_tokens, the vocabulary's token count"
            )
        self._spec = spec
        self._exemplars = exemplars
        self._at_most = _at_most(count_tokens)
        lengths = feature_lengths or {}
        self._max_inputs, self._max_targets = lengths.get("inputs"), lengths.get("targets")
        settings = [(setting, 1.0)] if setting else [(s, w) for s, w in spec.settings if w > 0]
        self._settings, self._weights = zip(*settings, strict=True)
        self._candidates = functools.cache(self._find_candidates)

    def render(self, fields: Fields, key: ExampleKey, train_index: int | None) -> Rendered:
        setting = self._settings[0]
        if len(self._settings) > 1:
            setting = key.weighted_choice("setting", self._settings, self._weights)
        query = _Query(fields, key, setting, self._spec.option_styles)
        if setting in spec_lib.FEW_SHOT_SETTINGS:
            try:
                return self._few_shot(query, train_index)
            except _DoesNotFit:
                query.setting = spec_lib.ZERO_SHOT_TWIN[setting]
        return self._zero_shot(query, setting)

    def _zero_shot(self, query: "_Query", drawn_setting: str) -> Rendered:
        templates = self._candidates(False, query.shows_options, query.absent)
        if not templates and drawn_setting != query.setting:
            raise Drop(NO_EXEMPLARS)
        template = self._draw_template(query, templates)
        values = query.values
        targets, references = query.targets(template)
        self._check_target(targets)
        delimiter = "\n"
        if template.target_prefix:
            delimiter = query.key.choice("delimiter", self._spec.few_shot.delimiters)[0]

        def prompt(values):
            text = template.input_prefix + template.input.render(values)
            if template.target_prefix:
                text += (delimiter + template.target_prefix).rstrip(" ")
            return _with_head(template, values, text)

        inputs, trimmed = prompt(values), 0
        if not self._fits(inputs):
            inputs, trimmed = self._trim(template, values, prompt)
        if not inputs.strip():
            raise Drop(EMPTY_INPUT)
        meta = query.meta(self._spec.name, template) | {
            "delimiter": delimiter if template.target_prefix else "",
            "drawn_setting": drawn_setting,
            "num_shots": template.embedded_shots,
            "num_shots_cut": query.num_cut,
            "trimmed": trimmed,
            "exemplars": [],
        }
        return Rendered(inputs, targets, meta, references)

    def _few_shot(self, query: "_Query", train_index: int | None) -> Rendered:
        policy, key = self._spec.few_shot, query.key
        templates = self._candidates(True, query.shows_options, query.absent)
        template = self._draw_template(query, templates)
        targets, references = query.targets(template)
        self._check_target(targets)
        num = template.shots
        if num is None:
            num = policy.min_shots + key.integer(
                "num_shots", policy.max_shots - policy.min_shots + 1
            )
        shots = self._draw_exemplars(query, template, num, train_index) if num else []
        delimiter, gap = key.choice("delimiter", policy.delimiters)
        blocks = [
            f"{template.input_prefix}{shot_in}{delimiter}{template.target_prefix}{shot_out}"
            for _, shot_in, shot_out in shots
        ]
        last = (delimiter + template.target_prefix).rstrip(" ")
        block = template.input_prefix + template.input.render(query.values) + last
        kept = len(blocks)
        while True:
            query.num_cut = len(blocks) - kept
            if kept == 0 and num:
                raise _DoesNotFit
            inputs = _with_head(template, query.values, gap.join([*blocks[:kept], block]))
            if self._fits(inputs) and self._within_budget(inputs, gap.join(blocks[:kept])):
                break
            if kept == 0:
                raise _DoesNotFit
            kept -= 1
        meta = query.meta(self._spec.name, template) | {
            "delimiter": delimiter,
            "drawn_setting": query.setting,
            "num_shots": kept + template.embedded_shots,
            "num_shots_cut": query.num_cut,
            "trimmed": 0,
            "exemplars": [index for index, _, _ in shots[:kept]],
        }
        return Rendered(inputs, targets, meta, references)

    def _draw_exemplars(self, query, template, num, train_index) -> list[tuple[int, str, str]]:
        """Returns (index, input, target) of up to `num` exemplars that the template can show."""
        if self._exemplars is None or not len(self._exemplars):
            raise _DoesNotFit
        shown = template.input.render(query.values)
        slots = {*template.input.slots, *template.target.slots} - {OPTIONS_SLOT}
        own = [slot for slot in template.input.slots if slot in query.fields]
        group = query.fields.get(GROUP)
        shots = []

        def same(fields) -> bool:
            if group is not None and fields.get(GROUP) == group:
                return True
            return bool(own) and all(fields.get(s) == query.fields[s] for s in own)

        for index, fields in self._exemplars.draw(
            query.key, num, train_index=train_index, same=same
        ):
            shot = query.exemplar(fields, index)
            if not slots <= shot.values.keys() or (query.shows_options and not shot.shows_options):
                continue
            try:
                target = shot.targets(template)[0]
            except Drop:
                continue
            text = template.input.render(shot.values)
            if text != shown and target.strip():
                shots.append((index, text, target))
        return shots

    def _draw_template(self, query: "_Query", templates) -> Template:
        if not templates:
            kinds = sorted({f"{t.kind}, options {t.options}" for t in self._spec.templates.load()})
            raise UsageError(
                f"task {self._spec.name!r}: no template serves setting {query.setting!r} for a row "
                f"{'with' if query.shows_options else 'without'} options to show; the group has: "
                f"{'; '.join(kinds)}"
            )
        template = query.key.choice("template", templates)
        query.list_options(template)
        if missing := sorted(template.slots - query.values.keys()):
            raise UsageError(
                f"task {self._spec.name!r}: template {template.id!r} asks for {{{missing[0]}}}, "
                f"the field mapping gives {sorted(query.values)}"
            )
        return template

    def _find_candidates(self, few_shot: bool, show: bool, absent: frozenset[str]):
        fitting = [
            template
            for template in self._spec.templates.load()
            if not any(slot.split(".")[0] in absent for slot in template.slots)
        ]
        if show:
            shown = [t for t in fitting if t.fits(few_shot=few_shot, show_options=True)]
            if listing := [t for t in shown if OPTIONS_SLOT in t.slots]:
                # An inverted template asks for something else than the answer: nothing to list.
                return tuple(t for t in fitting if t in listing or _is_inverted(t, few_shot))
        return tuple(t.bare for t in fitting if t.fits(few_shot=few_shot, show_options=False))

    def _fits(self, inputs: str) -> bool:
        return self._max_inputs is None or self._at_most(inputs, self._max_inputs - 1)

    def _within_budget(self, inputs: str, shown: str) -> bool:
        budget = self._spec.few_shot.budget
        if budget is None or self._at_most is None or not shown:
            return True
        # The whole prompt has been counted already, and is no shorter than what it shows.
        return self._at_most(inputs, budget) or self._at_most(shown, budget)

    def _check_target(self, targets: str) -> None:
        if not targets.strip():
            raise Drop(EMPTY_TARGET)
        most = self._max_targets
        if most is not None and not self._at_most(targets, most - 1):
            raise Drop(LONG_TARGET)

    def _trim(self, template: Template, values, prompt) -> tuple[str, int]:
        """Returns the longest prompt that fits with the trim field cut at a blank, and the cut."""
        name = self._spec.trim_field
        if name not in template.slots or name in template.target.slots:
            raise Drop(LONG_INPUT)
        text = values[name]
        ends = [match.start() for match in re.finditer(r"\s+", text)]
        low, high = -1, len(ends)
        while high - low > 1:
            middle = (low + high) // 2
            if self._fits(prompt({**values, name: text[: ends[middle]]})):
                low = middle
            else:
                high = middle
        if low < 0 or not text[: ends[low]].strip():
            raise Drop(LONG_INPUT)
        return prompt({**values, name: text[: ends[low]]}), len(text) - ends[low]


class _Query:
    """A row on its way to a prompt: its drawn field values and option list."""

    def __init__(self, fields, key, setting, option_styles, *, suffix="", listing=None):
        self.fields, self.key, self.setting = fields, key, setting
        self._option_styles, self._suffix = option_styles, suffix
        # Exemplars that were drawn and left out, as they did not fit.
        self.num_cut = 0
        self.values, self.absent = _draw_fields(fields, key, suffix)
        self.shows_options = setting in spec_lib.OPTION_SETTINGS and bool(fields.get("options"))
        self._listing = listing

    def exemplar(self, fields: Fields, index: int) -> "_Query":
        """Returns an exemplar of this query, its options listed in the same style."""
        shot = _Query(
            fields, self.key, self.setting, self._option_styles,
            suffix=f"/{index}", listing=self._listing,
        )  # fmt: skip
        if shot._listing is not None and shot.shows_options:
            shot.values[OPTIONS_SLOT] = shot._listing.text(fields["options"])
        return shot

    def list_options(self, template: Template) -> None:
        """Puts the option list among the values if the template shows it."""
        self._listing = None
        if OPTIONS_SLOT in template.slots:
            self._listing = options_lib.draw_listing(self.key, self._option_styles)
            self.values[OPTIONS_SLOT] = self._listing.text(self.fields["options"])

    def targets(self, template: Template) -> tuple[str, list[str]]:
        """Returns the target and all accepted targets, the target first."""
        pattern, values = template.target, self.values
        if self._listing is not None and ANSWER in pattern.slots:
            try:
                item = self.fields["options"].index(values[ANSWER])
            except ValueError:
                raise Drop(ODD_ANSWER) from None
            if self._listing.style.enumerated:
                values = {**values, ANSWER: self._listing.style.mark(item)}
                target = pattern.render(values)
                return target, [target]
        target = pattern.render(values)
        return target, list(dict.fromkeys([target, *self._others(template)]))

    def _others(self, template: Template) -> list[str]:
        given = self.fields.get("references")
        slots = template.target.slots
        if given and template.direction == FORWARD and len(template.target.pieces) == 1:
            return given
        lists = [s for s in slots if isinstance(self.fields.get(s), list) and s != OPTIONS_SLOT]
        if len(lists) != 1:
            return []
        name = lists[0]
        return [template.target.render({**self.values, name: v}) for v in self.fields[name]]

    def meta(self, task: str, template: Template) -> dict[str, Any]:
        """Returns the part of the metadata that every prompt has."""
        listing = self._listing
        group = {GROUP: self.fields[GROUP]} if GROUP in self.fields else {}
        return group | {
            "task": task,
            "template": template.id,
            "direction": template.direction,
            "setting": self.setting,
            "option_style": listing.style.name if listing else "",
        }


def _draw_fields(
    fields: Fields, key: ExampleKey, suffix: str
) -> tuple[dict[str, str], frozenset[str]]:
    """Returns one text per slot name, and the names that this row has nothing for."""
    values, absent = {}, []
    for name, value in fields.items():
        if name in _RESERVED:
            continue
        elif isinstance(value, str):
            values[name] = value
        elif not value and (value is None or isinstance(value, list)):
            absent.append(name)
        elif isinstance(value, list):
            item = key.choice(f"field/{name}{suffix}", value)
            if isinstance(item, dict):
                values.update({f"{name}.{k}": v for k, v in item.items()})
            else:
                values[name] = item
        else:
            raise UsageError(
                f"field {name!r} must be a text, a list or None, got {type(value).__name__}; "
                "make the field mapping give text"
            )
    return values, _NOTHING if not absent else frozenset(absent)


def _at_most(count: CountTokens | None) -> Callable[[str, int], bool] | None:
    """Returns whether a text has at most so many tokens, by the counter's own way if it has one."""
    if count is None:
        return None
    return getattr(count, "at_most", None) or (lambda text, limit: count(text) <= limit)


def _is_inverted(template: Template, few_shot: bool) -> bool:
    fits = template.fits(few_shot=few_shot, show_options=False) or template.fits(
        few_shot=few_shot, show_options=True
    )
    return fits and template.direction != FORWARD and OPTIONS_SLOT not in template.slots


def _with_head(template: Template, values: Mapping[str, str], text: str) -> str:
    return f"{template.head.render(values)}{_HEAD_GAP}{text}" if template.head else text


_NOTHING: frozenset[str] = frozenset()
