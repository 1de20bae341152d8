"""Who to blame when the whole pipeline failed in one step, and what to do with the others. Pure."""

from collections.abc import Sequence

import msgspec


class Standing(msgspec.Struct, frozen=True):
    """One live request at the moment of the failure."""

    request_id: int
    proven: bool  # it has given a token before, so it is not what is new in this step
    settled: bool  # it has given a token since it was last put into the engine


class Plan(msgspec.Struct, frozen=True):
    """What becomes of each live request. Every one is in exactly one list unless `lost`."""

    fail: tuple[int, ...] = ()
    readd: tuple[int, ...] = ()  # at once
    probation: tuple[int, ...] = ()  # one at a time, each alone among proven ones
    lost: bool = False  # the engine fails by itself; its process must end


def plan_recovery(standings: Sequence[Standing]) -> Plan:
    """Find the guilty one by what is new: a lone newcomer is guilty, several are tried one by one.

    With no newcomer everything is tried once more; a failure before all have given a token again is final.
    """
    proven = tuple(standing.request_id for standing in standings if standing.proven)
    newcomers = tuple(standing.request_id for standing in standings if not standing.proven)
    if len(newcomers) == 1:
        return Plan(fail=newcomers, readd=proven)
    if newcomers:
        return Plan(readd=proven, probation=newcomers)
    if all(standing.settled for standing in standings):
        return Plan(readd=proven)
    return Plan(lost=True)
