"""Prints the OpenAPI document of the service: ``python -m serving.api > docs/openapi.json``."""

import json
import sys
from dataclasses import fields
from typing import Any, cast

from serving.api import Services, application
from serving.config import ServeConfig


def described() -> dict[str, Any]:
    """The document, of routes behind which there is nothing."""
    services = Services(**dict.fromkeys((field.name for field in fields(Services)), cast(Any, object())))
    return application(services, ServeConfig()).openapi()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(described(), indent=1, ensure_ascii=False) + "\n")
