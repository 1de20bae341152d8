"""The log line of a replica that is ready."""

import msgspec
import pytest

from frontend.supervision.announcement import announcement
from ipc.messages import Launch, TextCard, TextOptions, VectorCard, VectorOptions

GIB = 1024**3
TEXT = TextCard(
    "AMD EPYC", 64, 131_072, 3.25, "f", {"A": "1"}, 49_152, 402_016, "", threads=8, weights="int4/int8"
)
VECTORS = VectorCard("Intel Arc", 256, 512, 0.5, "f", {}, 384, {}, weights="fp16")


def launch(engine: str, options: TextOptions | VectorOptions) -> Launch:
    return Launch(
        frontend_pid=1,
        endpoint="",
        model="m",
        path="",
        engine=engine,
        device="CPU",
        properties={},
        threads=0,
        cpus=[],
        load_seconds=1.0,
        stall_seconds=1.0,
        faults=False,
        options=options,
    )


@pytest.mark.parametrize(
    ("card", "engine", "options", "line"),
    [
        (
            TEXT,
            "text",
            TextOptions(kv_cache_bytes=GIB * 3 // 2),
            "AMD EPYC: context 131,072 tokens, KV cache up to 1.5 GiB (402,016 tokens), 8 threads, "
            "weights int4/int8, loaded in 3.2 s, A=1",
        ),
        (
            msgspec.structs.replace(TEXT, threads=1),
            "stateful",
            TextOptions(),
            "AMD EPYC: context 131,072 tokens, 1 thread, weights int4/int8, loaded in 3.2 s, A=1",
        ),
        (
            VECTORS,
            "embeddings",
            VectorOptions(),
            "Intel Arc: context 512 tokens, weights fp16, loaded in 0.5 s",
        ),
    ],
)
def test_one_line_has_what_the_host_reports(card, engine, options, line):
    assert announcement(card, launch(engine, options)) == line
