# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Our checkpoints as a model of lm-evaluation-harness; importing this registers it as `flan_jax`.

Needs the extra `lm_eval`. Written against release 0.4.13 of the harness, which finds models of
others only where their module was imported before: `python -m flan_jax.harness` does so. Later ones
find the entry point that this package has, and then `lm_eval --model flan_jax` is enough.
"""

from collections.abc import Mapping
from typing import Any

from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from lm_eval.utils import simple_parse_args_string

from flan_jax import predicting
from flan_jax.core import errors
from flan_jax.harness.answering import Answering

NAME = "flan_jax"
BATCH_SIZE = 32
ARGUMENTS = ("checkpoint", "vocabulary", "max_input_length", "batch_size", "seed")


@register_model(NAME)
class FlanJax(LM):
    """A checkpoint that the harness asks.

    Args:
        checkpoint: as of `flan-jax infer`: a folder of ours, hf:FOLDER, t5x:FOLDER or gguf:FILE.
        vocabulary: as of `flan-jax infer`; '' where the checkpoint brings or names one.
        max_input_length: most tokens of a prompt; None for the default of `flan-jax infer`.
        batch_size: prompts that are answered together; 'auto' for the default.
        seed: of sampling.
    """

    def __init__(
        self,
        checkpoint: str = "",
        vocabulary: str = "",
        max_input_length: int | None = None,
        batch_size: int | str = BATCH_SIZE,
        seed: int = 0,
    ):
        super().__init__()
        if not checkpoint:
            raise errors.UsageError(
                "--model flan_jax: no checkpoint; give --model_args checkpoint=PATH"
            )
        self._predictor = predicting.load(
            checkpoint_path=str(checkpoint),
            vocabulary=str(vocabulary),
            max_input_length=_whole("max_input_length", max_input_length),
            batch_size=BATCH_SIZE if batch_size == "auto" else _whole("batch_size", batch_size),
        )
        self._answering = Answering(self._predictor, seed=_whole("seed", seed))

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: Mapping[str, Any] | None = None
    ) -> "FlanJax":
        """Makes the model from `key=value,key=value`; see `create_from_arg_obj`."""
        return cls.create_from_arg_obj(simple_parse_args_string(arg_string), additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> "FlanJax":
        """Makes the model from --model_args, and from the harness's options where these are silent.

        Its --device is for torch; jax chooses its own. Its --batch_size of 1 is a default, and
        says nothing.

        Raises:
            UsageError: an argument is not known here.
        """
        for name in arg_dict:
            if name not in ARGUMENTS:
                raise errors.unknown_name("argument of --model flan_jax:", name, ARGUMENTS)
        batch_size = (additional_config or {}).get("batch_size")
        options = {} if batch_size in (None, 1, "1") else {"batch_size": batch_size}
        return cls(**(options | dict(arg_dict)))

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Returns the log-probability of each continuation, and whether it is greedy."""
        return self._answering.loglikelihoods([request.args for request in requests])

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Returns the log-probability of each whole text."""
        return self._answering.rolling_loglikelihoods([request.args[0] for request in requests])

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Returns an answer to each prompt."""
        return self._answering.generate([request.args for request in requests])

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Returns what the checkpoint's chat template makes of messages."""
        return self._answering.render(chat_history, add_generation_prompt)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Returns the checkpoint's chat template, which the harness puts into its results.

        Raises:
            UsageError: there is none, or one is asked for by name: a checkpoint brings one at most.
        """
        if isinstance(chat_template, str):
            raise errors.UsageError(
                f"--apply_chat_template {chat_template}: a checkpoint's one template has no name; "
                "leave the name out"
            )
        return self._answering.chat_template if chat_template else None

    @property
    def tokenizer_name(self) -> str:
        """Tells caches of prompts apart: the hash of the vocabulary."""
        return self._predictor.vocabulary.fingerprint

    def get_model_info(self) -> dict[str, Any]:
        """Returns what the harness adds to the configuration in its results."""
        return {
            "model_name": self._predictor.name,
            "model_step": self._predictor.source.step,
            "vocabulary": self._predictor.vocabulary.fingerprint,
            "max_input_length": self._predictor.max_input_length,
            "num_prompts": self._answering.num_prompts,
            "num_prompts_shortened": self._answering.num_shortened,
        }


def _whole(name: str, value: Any) -> Any:
    """Returns a whole number that may be written as a text; None as it is."""
    try:
        return None if value is None else int(value)
    except ValueError:
        raise errors.UsageError(f"--model flan_jax: {name}={value!r} is no whole number") from None
