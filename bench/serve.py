"""`nacelle bench serve`: latency and throughput of any OpenAI-compatible server under load."""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console

from bench import load, report
from bench.client import Client
from bench.options import json_option, options_of, vector_options, workload_options
from bench.stats import Slo, Summary, parse_slo, summarize
from bench.vectors import VectorWorkload
from bench.workload import Workload

_CLIENT_LIMIT = 0.85  # of a core; above it, the client may be the bottleneck


class ServeResults(msgspec.Struct, frozen=True):
    """The JSON file's results. The API key is not among them."""

    base_url: str
    model: str
    endpoint: str
    stream: bool
    workload: Workload
    client_busy: float  # share of one core
    summary: Summary


class VectorResults(msgspec.Struct, frozen=True):
    """The JSON file's results for embeddings and rerank."""

    base_url: str
    model: str
    workload: VectorWorkload
    client_busy: float  # share of one core
    inputs_per_second: float
    summary: Summary


class SloType(click.ParamType[Slo]):
    """Latency limits on the command line."""

    name = "slo"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Slo:
        try:
            return value if isinstance(value, Slo) else parse_slo(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command("serve", short_help="Measure any OpenAI-compatible server under load.")
@click.option("--base-url", required=True, help="The server's URL, with or without /v1.")
@click.option("--model", required=True, help="The model's name on that server.")
@click.option("--api-key", envvar="OPENAI_API_KEY", help="Sent as a bearer token.")
@click.option(
    "--task",
    type=click.Choice(["text", "embeddings", "rerank"]),
    default="text",
    show_default=True,
    help="What the model does.",
)
@click.option(
    "--endpoint",
    type=click.Choice(["chat", "completions"]),
    default="chat",
    show_default=True,
    help="Which API to measure, for text.",
)
@click.option("--stream/--no-stream", default=True, show_default=True, help="Request streamed answers.")
@workload_options
@vector_options
@click.option(
    "--encoding",
    type=click.Choice(["float", "base64"]),
    default="base64",
    show_default=True,
    help="How embeddings are returned.",
)
@click.option(
    "--request-rate",
    type=click.FloatRange(0, min_open=True),
    help="Requests per second, sent at random (Poisson) times, instead of --concurrency.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0, min_open=True),
    default=600.0,
    show_default=True,
    help="Seconds allowed per request.",
)
@click.option(
    "--goodput",
    "slo",
    type=SloType(),
    help="Report the share of requests within these limits in ms, such as ttft:200,tpot:50,e2e:4000.",
)
@json_option
def serve(
    base_url: str,
    model: str,
    api_key: str | None,
    deadline: float,
    task: str,
    endpoint: str,
    stream: bool,
    slo: Slo | None,
    json_path: Path | None,
    **asked: Any,
) -> None:
    """Measure an OpenAI-compatible server with --concurrency requests in flight, or at --request-rate.

    A request for embeddings or for reranking has --inputs texts of about --prompt-words each.

    Latencies are as this client sees them, on its own clock. Prompts differ from their first token on, so
    that a prefix cache cannot hide the prefill. One request is sent first; it must succeed and is not
    counted.
    """
    try:
        Client(base_url)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--base-url") from error
    target = msgspec.convert(
        {"base_url": base_url, "model": model, "api_key": api_key, "deadline": deadline}
        | {"endpoint": endpoint, "stream": stream},
        load.Target,
    )
    workload = _workload(task, endpoint, asked)
    [trial] = load.run(target, msgspec.structs.replace(workload, requests=1, seed=workload.seed - 1)).records
    if trial.failure is not None:
        raise click.ClickException(f"{trial.failure}: {trial.detail}")
    run = load.run(target, workload)
    summary = summarize(run.records, slo)
    console = Console()
    title = f"{model} at {base_url}"
    results: msgspec.Struct
    if isinstance(workload, VectorWorkload):
        report.show_vector_summary(title, summary, workload.inputs, console)
        rate = summary.requests_per_second * workload.inputs
        results = VectorResults(base_url, model, workload, run.client_busy, rate, summary)
    else:
        report.show_summary(title, summary, console)
        results = ServeResults(base_url, model, endpoint, stream, workload, run.client_busy, summary)
    if run.client_busy > _CLIENT_LIMIT:
        console.print(
            f"The client used {run.client_busy:.0%} of a core: the server may be faster than measured.",
            style="red",
        )
    console.print(f"JSON: {report.write(results, 'serve', json_path)}", markup=False)
    if not summary.completed:
        raise SystemExit(1)


def _workload(task: str, endpoint: str, asked: dict[str, Any]) -> Workload | VectorWorkload:
    """What the options ask for: each task has some that the others do not. Raises UsageError."""
    if task == "text":
        workload = msgspec.convert(options_of(Workload, asked), Workload)
        if workload.prompt_tokens is not None and endpoint == "chat":
            raise click.UsageError(
                "--prompt-tokens needs --endpoint completions: the chat endpoint does not take token ids"
            )
        return workload
    if asked["prompt_tokens"] is not None:
        raise click.UsageError(f"--prompt-tokens is for text; --task {task} takes --prompt-words")
    return msgspec.convert({"task": task, **options_of(VectorWorkload, asked)}, VectorWorkload)
