"""Models as applications declare the arguments of their functions and the answers that they want."""

from datetime import date, datetime, time
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Colour(Enum):
    RED = "red"
    NONE = "null"
    FIVE = "5"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Address(BaseModel):
    street: str = Field(min_length=1, max_length=40)
    zip_code: Annotated[str, Field(pattern=r"^\d{5}$")]
    country: str | None = None


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(ge=0, le=9)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: Annotated[str, Field(max_length=8)]


class Optionals(BaseModel):
    text: str | None
    short: Annotated[str, Field(max_length=5)] | None
    long: Annotated[str, Field(min_length=3, max_length=300)] | None
    day: date | None
    flag: bool | None = None
    count: Annotated[int, Field(ge=3, le=12)] | None


class Unions(BaseModel):
    either: int | str
    bounded: Annotated[int, Field(ge=100, le=120)] | str
    numeric: float | bool | None
    many: list[int] | str
    digits: Annotated[str, Field(pattern=r"^\d+$", max_length=4)] | Annotated[int, Field(lt=0)]
    nested: Address | None


class Enums(BaseModel):
    colour: Colour
    maybe: Colour | None
    level: Level
    tag: Literal["a", 1, None, True]
    several: list[Colour] = Field(min_length=1, max_length=2)


class Times(BaseModel):
    day: date
    at: datetime
    clock: time
    id: UUID


class Strings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    plain: str
    short: str = Field(max_length=10)
    least: str = Field(min_length=4)
    exact: str = Field(min_length=2, max_length=2)
    code: str = Field(pattern=r"^[A-Z]{2}-\d{3}$", max_length=6)
    page: str = Field(min_length=1, max_length=500)


class Bounded(BaseModel):
    """A bit of everything whose texts end soon."""

    note: Annotated[str, Field(max_length=5)] | None
    day: date | None
    colour: Colour
    size: Literal["S", 1, None]
    count: Annotated[int, Field(ge=3, le=12)] | Annotated[str, Field(pattern="^[a-c5]{1,2}$")]
    pet: Cat | None


class Nested(BaseModel):
    address: Address
    pets: list[Annotated[Cat | Dog, Field(discriminator="kind")]] = Field(max_length=2)
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    amount: float
    scores: dict[str, int]


MODELS: dict[str, type[BaseModel]] = {
    model.__name__: model for model in (Optionals, Unions, Enums, Times, Strings, Nested, Bounded)
}


def schema_of(name: str) -> dict[str, Any]:
    return MODELS[name].model_json_schema()
