"""The base of all bodies."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """The base of all bodies. The docstrings of their fields are the descriptions in /docs."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
