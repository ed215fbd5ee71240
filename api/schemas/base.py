"""The base of all bodies, and the times that many of them have."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Body(BaseModel):
    """The base of all bodies. The docstrings of their fields are the descriptions in /docs."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)


StartS = Annotated[float, Field(description="Seconds from the start of the audio.", examples=[0.48])]
EndS = Annotated[float, Field(description="Seconds from the start of the audio.", examples=[0.92])]
DurationS = Annotated[float, Field(description="Seconds of audio.", examples=[3.2])]
