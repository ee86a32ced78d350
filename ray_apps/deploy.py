"""What a service answers from, changed while it runs: releases promoted, tried on some callers, rolled back."""

import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from data.errors import InputError
from ray_apps.candidates import candidate, traffic_there
from ray_apps.command import Command, Parser
from ray_apps.plan import Plan
from ray_apps.serve import traffic_of
from ray_apps.tables import table

if TYPE_CHECKING:
    from serving.traffic import Canary, Guardrails, Release, Shadow, Traffic

SECTIONS = ("source", "encoder", "index", "serve")


def status(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """The releases of a run's service.

    Returns:
        ``run`` and ``traffic``: what the file of releases says.

    Raises:
        InputError: if the run was never served.
    """
    return _told(plan, traffic_there(plan))


def promote(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Make the run's release live: services answer from it within seconds, and nobody waits for that.

    Returns:
        ``run``, ``traffic``, and ``release``: with ``passages``, and ``found``: the share of sampled passages that its
        index finds by their own words.

    Raises:
        InputError: if it is much smaller than the live one, or finds much less.
    """
    from serving.traffic import with_live

    release = candidate(plan, arguments.force)
    return _changed(plan, lambda traffic: with_live(traffic, release), release)


def canary(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Give the run's release to a share of the callers; it is stopped by itself where it fails or is slow.

    Returns:
        As of ``promote``.
    """
    from serving.traffic import Canary

    return _tried(plan, arguments, "canary", Canary)


def shadow(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Ask the run's release what the live one is asked; its answers are compared, and given to nobody.

    Returns:
        As of ``promote``.
    """
    from serving.traffic import Shadow

    return _tried(plan, arguments, "shadow", Shadow)


def _tried(plan: Plan, arguments: Namespace, role: str, part: "type[Canary] | type[Shadow]") -> dict[str, Any]:
    """Have the run's release beside the live one."""
    guardrails = _guardrails(arguments)
    release = candidate(plan, arguments.force)
    asked = part(release=release.id, share=arguments.share, guardrails=guardrails)

    def beside(traffic: "Traffic") -> "Traffic":
        releases = {**traffic.releases, release.id: release}
        return traffic.model_copy(update={"releases": releases}).changed(**{role: asked}, stopped="")

    return _changed(plan, beside, release)


def stop(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """End canary and shadow.

    Returns:
        ``run`` and ``traffic``.
    """
    traffic_there(plan)
    return _changed(plan, lambda traffic: traffic.changed(canary=None, shadow=None))


def rollback(plan: Plan, arguments: Namespace) -> dict[str, Any]:
    """Make the release before this one live again.

    Returns:
        ``run`` and ``traffic``.

    Raises:
        InputError: if there was none before.
    """
    traffic_there(plan)

    def back(traffic: "Traffic") -> "Traffic":
        if traffic.previous is None:
            raise InputError(f"{plan.run.name}: no release was live before {traffic.live}", "Promote another one.")
        return traffic.changed(live=traffic.previous, previous=traffic.live, canary=None, shadow=None)

    return _changed(plan, back)


def _changed(plan: Plan, change: "Callable[[Traffic], Traffic]", release: "Release | None" = None) -> dict[str, Any]:
    from serving.traffic import change_traffic

    def changed(traffic: "Traffic | None") -> "Traffic":
        assert traffic is not None, "it was there"
        return change(traffic)

    after = change_traffic(traffic_of(plan), changed)
    assert after is not None, "it was there"
    told = _told(plan, after)
    return told if release is None else {**told, "release": release.model_dump(mode="json", exclude={"encoder"})}


def _told(plan: Plan, traffic: "Traffic") -> dict[str, Any]:
    described = traffic.model_dump(mode="json")
    for release in described["releases"].values():
        del release["encoder"]
    return {"run": plan.run.name, "traffic": described}


def _guardrails(arguments: Namespace) -> "Guardrails":
    from serving.traffic import Guardrails

    given = {name: getattr(arguments, name, None) for name in ("after", "errors", "slower", "overlap")}
    try:
        return Guardrails(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        wrong = error.errors()[0]
        raise InputError(f"--{wrong['loc'][0]}: {wrong['msg']}, got {wrong['input']}", "Correct it.") from None


def _show(result: Any) -> str:  # noqa: ANN401 - any JSON mapping
    traffic = result["traffic"]
    roles = {traffic["live"]: ["live"]}
    for part in ("canary", "shadow"):
        if traffic[part] is not None:
            roles.setdefault(traffic[part]["release"], []).append(f"{part} {traffic[part]['share']:.0%}")
    if traffic["previous"] is not None:
        roles.setdefault(traffic["previous"], []).append("previous")
    rows = [
        [
            id_,
            ", ".join(roles.get(id_, [])),
            f"{release['passages']:,}",
            _share(release["found"]),
            _link_model(release["links"]),
            _ranker(release["capabilities"]),
            Path(release["bundles"] or "").name,
            release["made"],
        ]
        for id_, release in traffic["releases"].items()
    ]
    columns = ["release", "role", "passages", "found", "link model", "capabilities", "bundles", "made"]
    lines = [table(columns, rows)]
    if traffic["stopped"]:
        lines.append(f"stopped by itself: {traffic['stopped']}")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _link_model(links: Mapping[str, Any] | None) -> str:
    """Which version a link model is."""
    if links is None:
        return ""
    return "the run's own" if links["version"] is None else f"version {links['version']}"


def _ranker(capabilities: Mapping[str, Any] | None) -> str:
    """Which version a ranker of capabilities is, as ``GET /v1/releases`` has it."""
    from serving.artifacts import CapabilityArtifacts

    return "" if capabilities is None else CapabilityArtifacts.model_validate(capabilities).name


def _fraction(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise ArgumentTypeError(f"{text!r} is not a share above 0 and up to 1")
    return value


def _force_words(parser: Parser) -> None:
    parser.add_argument("--force", action="store_true", help="though it is smaller, or finds less")


def _canary_words(parser: Parser) -> None:
    _force_words(parser)
    parser.add_argument("--share", type=_fraction, default=0.1, metavar="S", help="of callers (default: 0.1)")
    _guardrail_words(parser)


def _shadow_words(parser: Parser) -> None:
    _force_words(parser)
    parser.add_argument("--share", type=_fraction, default=1.0, metavar="S", help="of requests (default: 1)")
    _guardrail_words(parser)
    parser.add_argument(
        "--overlap", type=_fraction, metavar="S", help="least share of the live one's documents that it must find"
    )


def _guardrail_words(parser: Parser) -> None:
    parser.add_argument("--after", type=int, metavar="N", help="answers before it is judged (default: 200)")
    parser.add_argument("--errors", type=_fraction, metavar="S", help="most failures among them (default: 0.01)")
    parser.add_argument(
        "--slower", type=float, metavar="X", help="most times the live one's 95th percentile of latency (default: 2)"
    )


COMMANDS = (
    Command(
        name="deploy status", summary="what a run's service answers from", call=status, show=_show, sections=SECTIONS
    ),
    Command(
        name="deploy promote",
        summary="make the run's index, encoder, documents and models live in its service, without a restart",
        call=promote,
        words=_force_words,
        show=_show,
        sections=SECTIONS,
    ),
    Command(
        name="deploy canary",
        summary="answer a share of the callers from the run's index, encoder and documents",
        call=canary,
        words=_canary_words,
        show=_show,
        sections=SECTIONS,
    ),
    Command(
        name="deploy shadow",
        summary="ask the run's index what the live one is asked, and compare",
        call=shadow,
        words=_shadow_words,
        show=_show,
        sections=SECTIONS,
    ),
    Command(name="deploy stop", summary="end canary and shadow", call=stop, show=_show, sections=SECTIONS),
    Command(
        name="deploy rollback",
        summary="make the release before this one live again",
        call=rollback,
        show=_show,
        sections=SECTIONS,
    ),
)

if __name__ == "__main__":
    from ray_apps.cli import main

    sys.exit(main(["deploy", *sys.argv[1:]]))
