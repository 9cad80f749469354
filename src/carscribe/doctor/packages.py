"""Checks of what is installed: Python, Carscribe's own needs, its extras, and whether torch and transformers import."""

from collections.abc import Iterator, Mapping

from carscribe.doctor.findings import Finding
from carscribe.doctor.gpu import best_torch
from carscribe.doctor.machine import Machine
from carscribe.doctor.requirements import Requirement, is_within, parse_requirements
from carscribe.doctor.torch_facts import torch_facts

NOT_FOR_USERS = frozenset({"all", "dev"})
"""Extras that say nothing of their own: one is all others together, one is for Carscribe's developers."""

PURPOSE: Mapping[str, str] = {
    "local": "running a model on this machine",
    "parquet": "reading and writing Parquet",
    "train": "fine-tuning",
    "collect": "collecting photos from sites",
    "check": "finding photos that spoil a set",
    "privacy": "hiding faces in exports",
    "plates": "hiding number plates in exports",
    "qlora": "fine-tuning in 4 bits",
    "demo": "drawing the cars that the demo model learns from",
}


def check_python(machine: Machine) -> Iterator[Finding]:
    """The interpreter, the system, and Carscribe's version."""
    processor = machine.processor
    version = machine.version("carscribe")
    carscribe = f"Carscribe {version}" if version else "Carscribe, not installed but run from its source"
    what = f"{carscribe}, Python {processor.python}, {processor.system}"
    if processor.system.startswith("Linux"):
        yield Finding(topic="System", status="ok", what=what)
    else:
        yield Finding(topic="System", status="note", what=f"{what}. Carscribe is tested on Linux.")


def check_packages(machine: Machine) -> Iterator[Finding]:
    """What Carscribe always needs, then each extra."""
    asked = parse_requirements(machine.requirements("carscribe"))
    if not asked:
        yield Finding(
            topic="Packages",
            status="warning",
            what="Carscribe's own list of requirements is not installed, so that versions cannot be compared.",
            advice="In its folder: pip install '.[local]'",
        )
        return
    base = [requirement for requirement in asked if requirement.extra is None]
    if wrong := _wrong(machine, base):
        yield Finding(
            topic="Packages",
            status="problem",
            what=f"Of what Carscribe needs: {_told(machine, wrong)}.",
            advice=_pip(wrong),
        )
    else:
        yield Finding(topic="Packages", status="ok", what=f"All {len(base)} packages of the base install are there")
    extras = dict.fromkeys(r.extra for r in asked if r.extra and r.extra not in NOT_FOR_USERS)
    for extra in extras:
        yield _extra(machine, extra, [requirement for requirement in asked if requirement.extra == extra])


def check_imports(machine: Machine) -> Iterator[Finding]:
    """Whether torch and transformers import together, and whether a torchvision beside them fits."""
    facts = torch_facts(machine)
    if facts is None:
        return
    if facts.error:
        yield Finding(
            topic="Imports",
            status="problem",
            what=f"torch is installed and does not import: {facts.error}.",
            advice=f"pip uninstall -y torch && {best_torch(machine)}. If it is on a network disk, put the virtual "
            "environment on the machine's own",
        )
        return
    wanted = _torch_of_torchvision(machine)
    misfit = wanted is not None and not is_within(facts.version, wanted.specifier)
    if misfit:
        broken = facts.transformers_error != ""
        yield Finding(
            topic="Imports",
            status="problem" if broken else "warning",
            what=f"torchvision {machine.version('torchvision')} wants {wanted}, and torch {facts.version} is here"
            f"{f'; transformers does not import: {facts.transformers_error}' if broken else ''}.",
            advice="pip uninstall -y torchvision (Carscribe does not need it). If pip says it is outside this virtual "
            "environment, make one without --system-site-packages: docs/rented-gpu.md",
        )
    elif facts.transformers_error and machine.version("transformers") is not None:
        yield Finding(
            topic="Imports",
            status="problem",
            what=f"transformers does not import its InternVL: {facts.transformers_error}.",
            advice="pip install --force-reinstall --no-deps 'transformers>=5.17,<6'",
        )
    elif not facts.transformers_error:
        yield Finding(topic="Imports", status="ok", what="torch and transformers' InternVL import together")


def _extra(machine: Machine, extra: str, requirements: list[Requirement]) -> Finding:
    topic = f"Extra {extra}"
    purpose = PURPOSE.get(extra, "its own commands")
    wrong = _wrong(machine, requirements)
    if not wrong:
        versions = ", ".join(f"{r.name} {machine.version(r.name)}" for r in requirements)
        return Finding(topic=topic, status="ok", what=f"For {purpose}: {versions}")
    missing = all(machine.version(requirement.name) is None for requirement in wrong)
    install = f"pip install 'carscribe[{extra}]'"
    if extra != "local":
        return Finding(
            topic=topic,
            status="note" if missing else "warning",
            what=f"For {purpose}: {_told(machine, wrong)}.",
            advice=install if missing else _pip(wrong),
        )
    if any(requirement.name == "torch" for requirement in wrong):
        install = f"{best_torch(machine)} && {install}"
        if machine.version("torch") is not None:
            install += (
                " (in a virtual environment without --system-site-packages when this torch is the image's own: "
                "docs/rented-gpu.md)"
            )
    return Finding(topic=topic, status="problem", what=f"For {purpose}: {_told(machine, wrong)}.", advice=install)


def _wrong(machine: Machine, requirements: list[Requirement]) -> list[Requirement]:
    """The requirements that are not met: nothing is there, or another version."""
    found = ((requirement, machine.version(requirement.name)) for requirement in requirements)
    return [wanted for wanted, version in found if version is None or not is_within(version, wanted.specifier)]


def _told(machine: Machine, wrong: list[Requirement]) -> str:
    """Each requirement that is not met, with what is there instead."""
    return "; ".join(f"{wanted} is wanted and {_there(machine.version(wanted.name))}" for wanted in wrong)


def _there(version: str | None) -> str:
    return "missing" if version is None else f"{version} is here"


def _pip(wrong: list[Requirement]) -> str:
    return "pip install " + " ".join(f"'{wanted}'" for wanted in wrong)


def _torch_of_torchvision(machine: Machine) -> Requirement | None:
    """The torch that the installed torchvision was built for; None without a torchvision, or when it does not tell."""
    asked = parse_requirements(machine.requirements("torchvision"))
    return next((requirement for requirement in asked if requirement.name == "torch"), None)
