"""Prints the OpenAPI document of the service: ``python -m serving.api > docs/openapi.json``."""

import json
import sys
from dataclasses import fields
from typing import Any, cast

from serving.api import Services, application
from serving.config import ServeConfig


def described() -> dict[str, Any]:
    """The document, of routes behind which there is nothing."""
    nothing = cast(Any, None)
    services = Services(**{field.name: nothing for field in fields(Services)})
    return application(services, ServeConfig()).openapi()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(described(), indent=1, ensure_ascii=False) + "\n")
