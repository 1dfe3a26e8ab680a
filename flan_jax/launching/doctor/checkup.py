# Copyright 2026 The flan_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""All checks, on the real machine: here is what each of them is given.

What a check needs is imported when it is carried out, so that an environment in which something
cannot be imported is examined all the same.
"""

import functools
import importlib.util
import platform
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import flan_jax
from flan_jax.launching.doctor.findings import Check, Finding

_CACHE = "JAX_COMPILATION_CACHE_DIR"


def checks(
    environment: Mapping[str, str], *, model_dir: str = "", slice_name: str = "", store: str = ""
) -> list[Check]:
    """Returns what to look at, the things that others depend on first.

    Args:
        environment: the variables.
        model_dir: folder of a run, which may not be there yet; "" for none.
        slice_name: what a job is meant for, such as `v4-32`; "" for none.
        store: a token store; "" for none.
    """
    of_devices = _Devices(environment, slice_name)
    found = [
        Check("packages", "Python", _python),
        Check("packages", "requirements", _requirements),
        Check("packages", "jax and what goes with it", _with_jax),
        Check("packages", "this copy of flan_jax", _copy),
        Check("packages", "the package tasks", _tasks),
        Check("devices", "jax's devices", of_devices.devices),
        Check("devices", "libtpu's lock", of_devices.lock),
        Check("devices", "the slice", of_devices.slice),
        Check("machine", "cores", _cores),
        Check("machine", "memory", _memory),
        Check("machine", "shared memory", _shared_memory),
        Check("machine", "open files", _open_files),
        Check("machine", "locked memory", _locked_memory),
        Check("folders", "space for temporary files", _temporary),
        Check("folders", "MODEL_DIR", functools.partial(_model_dir, model_dir)),
        Check("folders", "token store", functools.partial(_store, store)),
        Check("folders", "compile cache", functools.partial(_cache, environment.get(_CACHE, ""))),
        Check("job", "variables", functools.partial(_variables, environment)),
        Check("job", "place in a job", functools.partial(_place, environment)),
        Check("cloud", "gcloud", functools.partial(_gcloud, environment)),
        Check("cloud", "credentials", functools.partial(_credentials, environment)),
        Check("cloud", "service account", _service_account),
        Check("cloud", "kubectl", functools.partial(_kubectl, environment)),
    ]
    return found


def _package() -> Path:
    return Path(flan_jax.__file__).parent


def _python() -> Iterator[Finding]:
    from importlib import metadata

    from flan_jax.launching.doctor import packages

    try:
        needed = metadata.metadata(packages.OURS)["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        needed = ""
    yield from packages.python(platform.python_version(), needed)


def _requirements() -> Iterator[Finding]:
    from flan_jax.launching.doctor import packages

    here = packages.installed()
    setup_file = _package().parent / "setup.py"
    asked_for, told = packages.asked_for(setup_file, here.requires(packages.OURS))
    yield from told
    yield from packages.requirements(asked_for, here)


def _with_jax() -> Iterator[Finding]:
    from flan_jax.launching.doctor import packages

    yield from packages.with_jax(packages.installed())


def _copy() -> Iterator[Finding]:
    from flan_jax.launching.doctor import packages

    yield from packages.copy(_package(), flan_jax.__version__, *packages.installed_copy())


def _tasks() -> Iterator[Finding]:
    from flan_jax.core import errors, modules
    from flan_jax.launching.doctor.findings import ok, problem

    try:
        modules.check_tasks_package()
    except errors.UsageError as error:
        text, _, remedy = str(error).partition("; ")
        yield problem(text, remedy)
    else:
        yield ok("the package 'tasks' is flan_jax's own")


class _Devices:
    """What several checks want to know of devices, asked once."""

    def __init__(self, environment: Mapping[str, str], slice_name: str):
        self._environment, self._slice_name = environment, slice_name

    @functools.cached_property
    def _answer(self):
        from flan_jax.launching.doctor import devices

        return devices.ask(self._environment)

    @functools.cached_property
    def _holder(self):
        from flan_jax.parallel import tpu_lock

        return tpu_lock.holder()

    def devices(self) -> Iterable[Finding]:
        """Looks at what jax computes on."""
        from flan_jax.launching.doctor import devices

        holder = self._holder  # before jax is asked, in whose process the TPU then is
        return devices.devices(
            self._answer,
            devices.hardware(),
            wanted=self._environment.get("JAX_PLATFORMS", ""),
            holder=holder,
            has_libtpu=importlib.util.find_spec("libtpu") is not None,
        )

    def lock(self) -> Iterable[Finding]:
        """Looks at libtpu's lock file."""
        from flan_jax.launching.doctor import devices
        from flan_jax.parallel import tpu_lock

        return devices.lock_file(Path(tpu_lock.LOCK_FILE), self._holder)

    def slice(self) -> Iterable[Finding]:
        """Compares with the slice that was named."""
        from flan_jax.aot import slices
        from flan_jax.launching.doctor import devices

        if not self._slice_name:
            return ()
        found = slices.find(self._slice_name)
        return devices.against_slice(self._answer, found.shown, found.num_devices)


def _cores() -> Iterable[Finding]:
    from flan_jax.launching.doctor import machine

    return machine.cores(machine.num_cores())


def _memory() -> Iterable[Finding]:
    from flan_jax.launching.doctor import machine

    return machine.memory(Path("/proc/meminfo").read_text(), machine.memory_limits())


def _shared_memory() -> Iterable[Finding]:
    from flan_jax.launching.doctor import machine

    return machine.shared_memory()


def _open_files() -> Iterable[Finding]:
    import resource

    from flan_jax.launching.doctor import machine

    return machine.open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def _locked_memory() -> Iterable[Finding]:
    import resource

    from flan_jax.launching.doctor import devices, machine

    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return machine.locked_memory(limit, len(devices.hardware().tpus))


def _mounts() -> str:
    mounts = Path("/proc/mounts")  # of Linux
    return mounts.read_text() if mounts.exists() else ""


def _temporary() -> Iterable[Finding]:
    from flan_jax.launching.doctor import folders

    return folders.space("temporary files in", Path(tempfile.gettempdir()))


def _model_dir(model_dir: str) -> Iterator[Finding]:
    from flan_jax.launching.doctor import folders

    if not model_dir:
        return
    yield from folders.model_dir(model_dir)
    if "://" not in model_dir:
        yield from folders.writable("MODEL_DIR", Path(model_dir), _mounts())
        yield from folders.space("MODEL_DIR", Path(model_dir))


def _store(store: str) -> Iterable[Finding]:
    from flan_jax.launching.doctor import folders

    return folders.token_store(store) if store else ()


def _cache(folder: str) -> Iterator[Finding]:
    from flan_jax.launching.doctor import folders

    yield from folders.compile_cache(folder, _mounts())
    if folder and "://" not in folder:
        yield from folders.space("compile cache", Path(folder))


def _variables(environment: Mapping[str, str]) -> Iterable[Finding]:
    from flan_jax.launching.doctor import variables

    return variables.shown(environment)


def _place(environment: Mapping[str, str]) -> Iterable[Finding]:
    from flan_jax.launching.doctor import devices, variables
    from flan_jax.parallel import environments, in_use

    find = functools.partial(
        environments.find,
        environment,
        num_tpu_chips=len(devices.hardware().tpus),
        metadata=functools.partial(environments.ask_metadata_server, environment),
    )
    return variables.place(
        environment, find, functools.partial(variables.who_listens, holder=in_use.port_holder)
    )


def _gcloud(environment: Mapping[str, str]) -> Iterable[Finding]:
    from flan_jax.launching.doctor import credentials

    return credentials.gcloud(functools.partial(credentials.run, environment=environment))


def _credentials(environment: Mapping[str, str]) -> Iterable[Finding]:
    from flan_jax.launching.doctor import credentials

    return credentials.application_default(environment, Path.home())


def _service_account() -> Iterable[Finding]:
    from flan_jax.launching.doctor import credentials

    return credentials.service_account(credentials.product_name(), credentials.from_metadata_server)


def _kubectl(environment: Mapping[str, str]) -> Iterable[Finding]:
    from flan_jax.launching.doctor import credentials

    return credentials.kubectl(functools.partial(credentials.run, environment=environment))
