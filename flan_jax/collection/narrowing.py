# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A task narrowed to what somebody wants to look at: one split, setting, template, shot count.

The result renders the same prompts as the task does when it happens to draw that setting or
template. It is for looking, not for building: it has the task's name.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

from flan_jax.collection import spec as spec_lib
from flan_jax.collection.prompts import ZERO_SHOT, Template, TemplateGroup
from flan_jax.collection.spec import TaskSpec
from flan_jax.core import files
from flan_jax.core.errors import UsageError, unknown_name


@dataclasses.dataclass(frozen=True)
class GivenTemplates(TemplateGroup):
    """Templates that are there already, instead of a file's."""

    templates: tuple[Template, ...] = ()

    def load(self) -> tuple[Template, ...]:
        """Returns the templates."""
        return self.templates

    def fingerprint(self) -> str:
        """Returns a hash of the templates."""
        names = [field.name for field in dataclasses.fields(Template)]
        texts = [[str(getattr(template, name)) for name in names] for template in self.templates]
        return hashlib.sha256(files.dumps(texts).encode()).hexdigest()


def narrow(
    spec: TaskSpec,
    *,
    split: str | None = None,
    setting: str | None = None,
    template: str | None = None,
    shots: int | None = None,
) -> TaskSpec:
    """Returns the task with only what is named; None leaves all.

    Args:
        spec: the task.
        split: the only split.
        setting: the only prompt setting, also one that the task does not draw.
        template: id of the only template; settings it does not serve go.
        shots: the number of exemplars; zero-shot settings go, and few-shot templates that fix
            another number.

    Raises:
        UsageError: there is no such split or template, or nothing is left.
    """
    if split is not None:
        if split not in spec.splits:
            raise UsageError(f"task {spec.name!r} has no split {split!r}; it has {spec.splits}")
        spec = dataclasses.replace(spec, splits=(split,))
    if setting is not None:
        spec = dataclasses.replace(spec, settings=((setting, 1.0),))
    if template is not None:
        spec = _only_template(spec, template)
    return spec if shots is None else _only_shots(spec, shots)


def _only_template(spec: TaskSpec, name: str) -> TaskSpec:
    by_id = {template.id: template for template in spec.templates.load()}
    if name not in by_id:
        raise unknown_name(f"template of task {spec.name!r}:", name, by_id)
    template = by_id[name]
    drawn = [pair for pair in spec.settings if pair[1] > 0]
    # Where a group has no template that lists options, one without serves those settings too.
    for without_options in (False, True):
        if fitting := [s for s in drawn if _serves(template, s[0], without_options)]:
            return _with(spec, [template], fitting)
    raise UsageError(
        f"template {name!r} of task {spec.name!r} (kind {template.kind}, options "
        f"{template.options}) serves none of the settings {_names(drawn)}; name another one with "
        "--setting"
    )


def _only_shots(spec: TaskSpec, shots: int) -> TaskSpec:
    few_shot = [s for s in spec.settings if s[0] in spec_lib.FEW_SHOT_SETTINGS and s[1] > 0]
    if not few_shot:
        raise UsageError(
            f"--shots {shots}: task {spec.name!r} is shown here in the settings "
            f"{_names(spec.settings)}, which show no exemplars; add --setting fs_noopt"
        )
    able = [t for t in spec.templates.load() if t.kind != ZERO_SHOT]
    kept = [t for t in able if t.shots in (None, shots)]
    if not kept:
        fixed = sorted({t.shots for t in able if t.shots is not None})
        told = f"fixes its number, to one of {fixed}" if able else "is missing"
        raise UsageError(
            f"--shots {shots}: every few-shot template of task {spec.name!r} {told}; leave "
            "--shots out"
        )
    counted = dataclasses.replace(spec.few_shot, min_shots=shots, max_shots=shots)
    return dataclasses.replace(_with(spec, kept, few_shot), few_shot=counted)


def _with(spec: TaskSpec, templates: Sequence[Template], settings) -> TaskSpec:
    given = GivenTemplates(templates=tuple(templates))
    return dataclasses.replace(spec, templates=given, settings=tuple(settings))


def _serves(template: Template, setting: str, without_options: bool) -> bool:
    shows = setting in spec_lib.OPTION_SETTINGS and not without_options
    return template.fits(few_shot=setting in spec_lib.FEW_SHOT_SETTINGS, show_options=shows)


def _names(settings) -> str:
    return ", ".join(name for name, _ in settings)
