"""The built-in corpus: docstrings of installed libraries, linked by their hand-written "See Also" sections."""

from importlib import metadata

from pydantic import Field

from data.artifacts import StageConfig
from data.errors import InputError
from data.sources.rows import ReadTask

PACKAGES = ("numpy", "scipy", "sklearn", "pandas", "networkx", "polars")
DISTRIBUTIONS = {"sklearn": "scikit-learn"}


class PydocsSource(StageConfig):
    """Documented Python libraries."""

    packages: tuple[str, ...] = Field(PACKAGES, min_length=1, description="import names of installed packages")
    max_documents: int | None = Field(
        None, ge=2, description="keep a connected part of at most so many documents, always the same"
    )

    def versions(self) -> dict[str, str]:
        """Version of each package.

        Raises:
            InputError: if one is not installed.
        """
        versions: dict[str, str] = {}
        for package in self.packages:
            try:
                versions[package] = metadata.version(DISTRIBUTIONS.get(package, package))
            except metadata.PackageNotFoundError:
                raise InputError(
                    f"source.pydocs.packages: {package} is not installed", f"pip install {package}, or take it out."
                ) from None
        return versions

    def tasks(self) -> list[ReadTask]:
        """To be written."""
        return []
