"""What all bodies have in common."""

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """Base of all bodies; the docstrings of the fields are what /docs says of them."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)
