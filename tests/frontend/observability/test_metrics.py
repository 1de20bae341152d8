"""The exposition: every family once."""

from prometheus_client.parser import text_string_to_metric_families

from frontend.observability.metrics import Metrics


def test_no_family_is_doubled_by_the_time_of_its_creation():
    metrics = Metrics()
    metrics.requests.labels("/v1/models", "200", "ok").inc()
    metrics.http_seconds.labels("/v1/models").observe(0.1)
    metrics.of_model("m").resumed.inc()
    metrics.of_model("m").of_replica(0).restarts("hang").inc()
    text = metrics.render().decode()
    assert "_created" not in text
    names = [family.name for family in text_string_to_metric_families(text)]
    assert len(names) == len(set(names))
