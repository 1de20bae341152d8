"""What an option of the engine gains: the raw pipeline with and without it, alternating in one run."""

import msgspec
from rich.table import Table

from bench.engine_process import EngineProcess
from bench.figures import Pair, median_pair, summarize_flawless
from bench.stats import median
from bench.workload import Workload
from ipc.messages import Launch, TextOptions

COPIES = 3  # of each prompt's words for prompt lookup, so that the model has something to copy


class Gain(msgspec.Struct, frozen=True):
    """Output tokens/s with the option (`ours`) and without (`yardstick`)."""

    pairs: list[Pair]

    @property
    def ratio(self) -> float:
        return median([pair.ratio for pair in self.pairs])


def gain(
    ours: Launch[TextOptions],
    plain: Launch[TextOptions],
    workload: Workload,
    pairs: int,
    in_huge_pages: bool = False,
) -> Gain:
    """With `in_huge_pages`, only our side's memory is.

    Needs memory for two copies of the model, and for a draft model. Raises EngineFailed, RunFailed.
    """
    with EngineProcess(plain) as without, EngineProcess(ours, in_huge_pages) as optional:
        _rate(without, workload, -1)  # warms up
        _rate(optional, workload, -1)
        return Gain(
            [
                Pair(_rate(optional, workload, number), _rate(without, workload, number))
                for number in range(pairs)
            ]
        )


def without_speculation(launch: Launch[TextOptions]) -> Launch[TextOptions]:
    return msgspec.structs.replace(launch, options=msgspec.structs.replace(launch.options, speculation=None))


def with_property(launch: Launch[TextOptions], name: str, value: str) -> Launch[TextOptions]:
    return msgspec.structs.replace(launch, properties=launch.properties | {name: value})


def _rate(process: EngineProcess, workload: Workload, number: int) -> float:
    """Output tokens/s. Both sides of a pair get the same prompts, and no other pair gets them."""
    own = msgspec.structs.replace(workload, seed=workload.seed + number)
    return summarize_flawless(process.run(own)).output_tokens_per_second


def table(title: str, found: Gain) -> Table:
    shown = Table("output tokens/s", "median", "range", title=title)
    middle = median_pair(found.pairs)
    ours, yardstick = [pair.ours for pair in found.pairs], [pair.yardstick for pair in found.pairs]
    shown.add_row("with it", f"{middle.ours:.1f}", f"{min(ours):.1f} – {max(ours):.1f}")
    shown.add_row("without", f"{middle.yardstick:.1f}", f"{min(yardstick):.1f} – {max(yardstick):.1f}")
    ratios = [pair.ratio for pair in found.pairs]
    shown.add_row("ratio", f"{found.ratio:.3f}", f"{min(ratios):.3f} – {max(ratios):.3f}")
    return shown
