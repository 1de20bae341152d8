"""`nacelle bench serve`: latency and throughput of any OpenAI-compatible server under load."""

from pathlib import Path
from typing import Any, Generic, TypeVar

import click
import msgspec
from click.core import ParameterSource
from rich.console import Console

from bench import load, report
from bench.client import Client
from bench.errors import RunFailed
from bench.load import AnyWorkload
from bench.options import json_option, media_options, options_of, vector_options, workload_options
from bench.speech import SpeechWorkload
from bench.stats import Slo, Summary, parse_slo, summarize
from bench.transcripts import TranscriptionWorkload
from bench.vectors import VectorWorkload
from bench.workload import Workload

_WORKLOADS: dict[str, type[AnyWorkload]] = {
    "text": Workload,
    "vision": Workload,
    "embeddings": VectorWorkload,
    "rerank": VectorWorkload,
    "transcription": TranscriptionWorkload,
    "speech": SpeechWorkload,
}
# Options that are fields of a task's workload, or of the load's target, but say nothing to the task.
_NOT_FOR = {
    "text": {"images", "image_size"},
    "vision": {"prompt_tokens", "endpoint"},
    "embeddings": {"endpoint", "stream"},
    "rerank": {"endpoint", "stream", "encoding"},
    "transcription": {"endpoint"},
    "speech": {"endpoint", "stream"},
}
_OF_TARGETS = {"endpoint", "stream"}

Asked = TypeVar("Asked", TranscriptionWorkload, SpeechWorkload)

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


class AudioResults(msgspec.Struct, Generic[Asked], frozen=True):
    """The JSON file's results for transcription and speech."""

    base_url: str
    model: str
    stream: bool
    workload: Asked
    client_busy: float  # share of one core
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
    type=click.Choice(list(_WORKLOADS)),
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
@click.option(
    "--stream/--no-stream",
    default=True,
    show_default=True,
    help="Request streamed answers: text, vision and transcription.",
)
@workload_options
@vector_options
@media_options
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

    A request for embeddings or for reranking has --inputs texts of about --prompt-words each. A vision
    request has --images plain images and a text. A transcription request uploads --audio, or a recording of
    --audio-seconds that espeak-ng speaks. A speech request has sentences of --prompt-words together, and
    its audio is requested as raw samples of 24 kHz. The real-time factor is the number of seconds of audio
    that the server transcribes or speaks per second, all requests together.

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
    try:
        [trial] = load.run(
            target, msgspec.structs.replace(workload, requests=1, seed=workload.seed - 1)
        ).records
        if trial.failure is not None:
            raise click.ClickException(f"{trial.failure}: {trial.detail}")
        run = load.run(target, workload)
    except (OSError, RunFailed) as error:
        raise click.ClickException(str(error)) from error
    summary = summarize(run.records, slo)
    console = Console()
    results = _show(target, workload, run.client_busy, summary, console)
    if run.client_busy > _CLIENT_LIMIT:
        console.print(
            f"The client used {run.client_busy:.0%} of a core: the server may be faster than measured.",
            style="red",
        )
    console.print(f"JSON: {report.write(results, 'serve', json_path)}", markup=False)
    if not summary.completed:
        raise SystemExit(1)


def _show(
    target: load.Target, workload: AnyWorkload, client_busy: float, summary: Summary, console: Console
) -> msgspec.Struct:
    """Print a run's figures, and return them for the JSON file."""
    base_url, model, stream = target.base_url, target.model, target.stream
    title = f"{model} at {base_url}"
    if isinstance(workload, VectorWorkload):
        report.show_vector_summary(title, summary, workload.inputs, console)
        rate = summary.requests_per_second * workload.inputs
        return VectorResults(base_url, model, workload, client_busy, rate, summary)
    if isinstance(workload, Workload):
        report.show_summary(title, summary, console)
        return ServeResults(base_url, model, target.endpoint, stream, workload, client_busy, summary)
    if isinstance(workload, SpeechWorkload):
        report.show_audio_summary(title, summary, "audio", console)
        return AudioResults(base_url, model, True, workload, client_busy, summary)
    report.show_audio_summary(title, summary, "delta", console)
    return AudioResults(base_url, model, stream, workload, client_busy, summary)


def _workload(task: str, endpoint: str, asked: dict[str, Any]) -> AnyWorkload:
    """What the options ask for: each task has some that the others do not. Raises UsageError."""
    kind = _WORKLOADS[task]
    context = click.get_current_context()
    for name in (*asked, *_OF_TARGETS):
        applies = name in kind.__struct_fields__ or name in _OF_TARGETS
        if (not applies or name in _NOT_FOR[task]) and _given(context, name):
            raise click.UsageError(f"--{name.replace('_', '-')} does not apply to --task {task}")
    if task == "text" and asked["prompt_tokens"] is not None and endpoint == "chat":
        raise click.UsageError(
            "--prompt-tokens needs --endpoint completions: the chat endpoint does not take token ids"
        )
    fields = options_of(kind, asked)
    if task == "text":
        fields |= {"images": 0}
    if kind is VectorWorkload:
        fields |= {"task": task}
    return msgspec.convert(fields, kind)


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) == ParameterSource.COMMANDLINE
