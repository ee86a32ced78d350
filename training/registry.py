"""The registry of models in MLflow: versions, the aliases ``champion`` and ``challenger``, and who becomes champion."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data.errors import InputError
from evaluation.significance import paired_difference
from training.fingerprints import Fingerprints, check_fits
from training.tracking import connect

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
FORMER = "former_champions"  # tag of a registered model: versions that were champion, the last one last
RANKS = "evaluation/ranks.npz"
SIGNIFICANT = 0.05
SCORED = "model"  # the name of the link model among the scorers in ``ranks.npz``


@dataclass(frozen=True)
class Version:
    """A version in the registry."""

    version: int
    aliases: tuple[str, ...]
    mrr: float
    made: str
    run_id: str
    fingerprints: Fingerprints
    train: str = ""  # key of the artifact that was registered


@dataclass(frozen=True)
class Compared:
    """A challenger beside the champion on the same held-out links; ``difference`` is of mean reciprocal ranks."""

    champion: int
    challenger: int
    champion_mrr: float
    challenger_mrr: float
    difference: float
    difference_low: float
    difference_high: float
    p_value: float
    links: int

    @property
    def lost(self) -> bool:
        """Whether the challenger is worse by more than chance."""
        return self.difference < 0 and self.p_value < SIGNIFICANT


@contextmanager
def _reaching(store: str) -> Iterator[None]:
    """Turn what a store fails with, after it was reached once, into an InputError."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise InputError(
            f"the registry {store} failed: {str(error).strip().splitlines()[0][:300]}",
            "Look after its server, its database and its files; the command can be repeated.",
        ) from error


class Registry:
    """The versions of one model.

    Args:
        store: MLflow's tracking URI, which holds the registry as well.
        name: of the model.

    Raises:
        InputError: by every method, if the store cannot be reached or used.
    """

    def __init__(self, store: str, name: str) -> None:
        self.store, self.name = store, name
        self._made: MlflowClient | None = None

    def versions(self) -> list[Version]:
        """All versions, the newest first."""
        aliases: dict[str, list[str]] = {}
        client = self._client()
        with _reaching(self.store):
            found = client.search_model_versions(f"name = '{self.name}'")
            for alias, number in client.get_registered_model(self.name).aliases.items() if found else ():
                aliases.setdefault(str(number), []).append(alias)
        rows = [_version(one, aliases.get(str(one.version), [])) for one in found]
        return sorted(rows, key=lambda row: -row.version)

    def champion(self) -> Version | None:
        """The version that is served; None where none is."""
        return next((version for version in self.versions() if CHAMPION in version.aliases), None)

    def register(
        self, run_id: str, files: Mapping[str, Path], fingerprints: Fingerprints, mrr: float, tags: Mapping[str, str]
    ) -> Version:
        """Add a version, which becomes the challenger; the first one becomes champion as well.

        Args:
            run_id: MLflow run that receives the files.
            files: by their place in the run's artifacts: ``model/…``, ``evaluation/ranks.npz``, the report.
            fingerprints: of what the model was made from.
            mrr: on the held-out links.
            tags: further ones.
        """
        client = self._client()
        with tempfile.TemporaryDirectory() as folder, _reaching(self.store):
            for place, file in files.items():
                (Path(folder) / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, Path(folder) / place)
            _describe(run_id, fingerprints).save(str(Path(folder) / "model" / "MLmodel"))
            client.log_artifacts(run_id, folder)
            self._name(client)
            source = f"{client.get_run(run_id).info.artifact_uri}/model"
            labels = {**tags, **asdict(fingerprints), "mrr": repr(mrr)}
            made = client.create_model_version(self.name, source, run_id=run_id, tags=labels)
        self.introduce(int(made.version))
        return next(version for version in self.versions() if version.version == int(made.version))

    def introduce(self, number: int) -> None:
        """Make the newest version the challenger, and the champion where there is none.

        A version that has an alias, or that is not the newest, is left as it is; so this can be repeated by whoever was
        killed after the version was made and before it had its aliases.

        Args:
            number: of the version.
        """
        versions = self.versions()
        if versions[0].version != number or versions[0].aliases:
            return
        with _reaching(self.store):
            self._client().set_registered_model_alias(self.name, CHALLENGER, str(number))
        if not any(CHAMPION in version.aliases for version in versions):
            self._crown(number)

    def promote(self, number: int | None = None, force: bool = False) -> Compared | None:
        """Make the challenger, or another version, the champion.

        Args:
            number: the version; the challenger where None.
            force: promote it though it loses, or cannot be compared.

        Returns:
            How the two compare; None where there was no champion, or they were judged on different links.

        Raises:
            InputError: if it loses on the same split by a paired test over the links, or was judged on another one.
        """
        new = self.find(CHALLENGER if number is None else number)
        old = self.champion()
        if old is not None and old.version == new.version:
            raise InputError(f"version {new.version} of {self.name} is the champion already", "Nothing is to be done.")
        compared = None
        if old is not None:
            compared = self._compare(old, new, force)
            if compared is not None and compared.lost and not force:
                raise InputError(
                    f"version {new.version} of {self.name} loses against the champion\n{_told(compared)}",
                    "Keep the champion, or promote it all the same with --force.",
                )
            self._remember([*self._former(old.version), old.version])
        self._crown(new.version)
        return compared

    def rollback(self) -> tuple[int, int]:
        """Make the last champion before this one champion again; returns the versions before and after.

        Raises:
            InputError: if there was none.
        """
        now = self.find(CHAMPION)
        former = self._former(now.version)
        if not former:
            raise InputError(
                f"{self.name} had no champion before version {now.version}", "`catena registry list` shows."
            )
        self.find(former[-1])
        self._crown(former[-1])
        self._remember(former[:-1])
        return now.version, former[-1]

    def find(self, which: str | int) -> Version:
        """A version by its alias or number.

        Raises:
            InputError: if there is none.
        """
        return self._numbered(which) if isinstance(which, int) else self._with(which)

    def load(self, which: str | int, here: Fingerprints, into: Path) -> Path:
        """Fetch a version's files; returns the folder with the model.

        Raises:
            InputError: naming each fingerprint that differs, if it was made from other data or another encoder.
        """
        found = self.find(which)
        check_fits(f"version {found.version} of {self.name}", found.fingerprints, here)
        with _reaching(self.store):
            return Path(self._client().download_artifacts(found.run_id, "model", str(into)))

    def _compare(self, old: Version, new: Version, force: bool) -> Compared | None:
        """Both on the same links; None where that cannot be and need not."""
        try:
            return self._tested(old, new)
        except InputError:
            if force:
                return None
            raise

    def _tested(self, old: Version, new: Version) -> Compared:
        if old.fingerprints.split != new.fingerprints.split:
            raise InputError(
                f"version {new.version} of {self.name} was judged on other links than the champion "
                f"({new.fingerprints.split} and {old.fingerprints.split})",
                "Evaluate both on the same split and register them again, or promote with --force.",
            )
        a, b = self._reciprocal(old), self._reciprocal(new)
        if not len(a):
            raise InputError(
                f"versions {old.version} and {new.version} of {self.name} were judged on nothing",
                "Evaluate both on held-out data and register them again, or promote with --force.",
            )
        tested = paired_difference(b, a)
        return Compared(old.version, new.version, float(a.mean()), float(b.mean()), **tested, links=len(a))

    def _reciprocal(self, version: Version) -> np.ndarray:
        """float64 (L,): the mean of the two reciprocal ranks of each held-out link."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                with _reaching(self.store):
                    file = self._client().download_artifacts(version.run_id, RANKS, folder)
            except InputError as error:
                raise InputError(
                    f"the ranks of version {version.version} of {self.name} cannot be read: {error.problem}",
                    "Register that model again, or promote with --force.",
                ) from error
            with np.load(file) as kept:
                order = np.lexsort((kept["targets"], kept["sources"]))
                both: np.ndarray = (1.0 / kept[f"ranks/{SCORED}"]).reshape(2, -1).mean(axis=0)[order]
                return both

    def _with(self, alias: str) -> Version:
        for version in self.versions():
            if alias in version.aliases:
                return version
        raise InputError(f"{self.name} has no {alias} in {self.store}", "Add one with `catena registry register`.")

    def _numbered(self, number: int) -> Version:
        known = self.versions()
        for version in known:
            if version.version == number:
                return version
        numbers = ", ".join(str(version.version) for version in known) or "none"
        raise InputError(f"{self.name} has no version {number}", f"Versions: {numbers}.")

    def _former(self, now: int) -> list[int]:
        """Champions before this one. A change that was killed half way may have left it as the last of them."""
        with _reaching(self.store):
            tags = self._client().get_registered_model(self.name).tags
        former: list[int] = json.loads(tags.get(FORMER, "[]"))
        while former and former[-1] == now:
            former.pop()
        return former

    def _remember(self, former: list[int]) -> None:
        with _reaching(self.store):
            self._client().set_registered_model_tag(self.name, FORMER, json.dumps(former))

    def _crown(self, version: int) -> None:
        with _reaching(self.store):
            self._client().set_registered_model_alias(self.name, CHAMPION, str(version))

    def _name(self, client: "MlflowClient") -> None:
        from mlflow.exceptions import MlflowException

        try:
            client.create_registered_model(self.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _client(self) -> "MlflowClient":
        if self._made is None:
            try:
                self._made = connect(self.store)
                self._made.search_registered_models(max_results=1)
            except Exception as error:  # a store, its server, its driver or the network may raise anything
                raise InputError(
                    f"the registry {self.store} cannot be reached: {str(error).strip().splitlines()[0][:300]}",
                    "Start its server, or give another store with train.tracking.uri.",
                ) from error
        return self._made


def _version(found: "ModelVersion", aliases: list[str]) -> Version:
    tags = found.tags
    return Version(
        version=int(found.version),
        aliases=tuple(sorted(aliases)),
        mrr=float(tags.get("mrr", "nan")),
        made=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).strftime("%Y-%m-%d %H:%M"),
        run_id=found.run_id,
        fingerprints=Fingerprints(**{name: tags.get(name, "") for name in Fingerprints.__dataclass_fields__}),
        train=tags.get("train", ""),
    )


def _describe(run_id: str, fingerprints: Fingerprints) -> Any:  # noqa: ANN401 - MLflow has no types
    """MLflow's description of a link model: what it takes, what it gives, what it was made from."""
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import ColSpec, Schema

    pair = Schema([ColSpec("string", "source"), ColSpec("string", "target")])
    signature = ModelSignature(inputs=pair, outputs=Schema([ColSpec("float", "score")]))
    described = Model(artifact_path="model", run_id=run_id, signature=signature, metadata=asdict(fingerprints))
    return described.add_flavor("catena", loader="training.registry:Registry.load")


def _told(compared: Compared) -> str:
    rows = [
        ("", "version", "MRR"),
        ("champion", str(compared.champion), f"{compared.champion_mrr:.4f}"),
        ("challenger", str(compared.challenger), f"{compared.challenger_mrr:.4f}"),
    ]
    table = "\n".join(f"  {who:<12}{number:>8}{mrr:>9}" for who, number, mrr in rows)
    return (
        f"{table}\n  difference {compared.difference:+.4f} ({compared.difference_low:+.4f} to "
        f"{compared.difference_high:+.4f}), p = {compared.p_value:.4f}, {compared.links} links"
    )
