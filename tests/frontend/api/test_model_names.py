"""Other names of a model over HTTP: how they are listed, answered and counted. The host is a stand-in."""

from prometheus_client.parser import text_string_to_metric_families

from frontend.routing.names import Names
from tests.frontend.api.test_embeddings import embedded
from tests.frontend.api.vector_server import VectorServer, run, vector_card

NAMES = Names({"gpt-4": "m", "test-alias": "test", "lost": "gone"}, {"test": {"m": 0.5, "gone": 99}})


def test_aliases_and_variants_are_listed_with_the_models_that_they_stand_for():
    async def scenario(server: VectorServer) -> None:
        server.router.names = NAMES
        listed = {model["id"]: model for model in (await server.http.get("/v1/models")).json()["data"]}
        assert listed.keys() == {"m", "gpt-4", "test-alias", "test"}, "what means no model is not listed"
        assert listed["gpt-4"] == listed["m"] | {"id": "gpt-4", "root": "m"}
        assert listed["m"]["max_model_len"] == 512
        assert listed["test"]["variants"] == {"m": 0.5, "gone": 99}
        for name in ("m", "gpt-4", "test"):
            assert (await server.http.get(f"/v1/models/{name}")).json() == listed[name]
        assert (await server.http.get("/v1/models/m:latest")).json() == listed["m"]

    run(scenario, vector_card(4))


def test_an_answer_names_the_model_in_a_header_and_variants_are_counted():
    async def scenario(server: VectorServer) -> None:
        server.router.names = NAMES
        server.host.reply = embedded
        for name in ("m", "gpt-4", "test", "test-alias", "m:latest"):
            answer = await server.post("/v1/embeddings", model=name, input="a")
            assert (answer.status_code, answer.headers["x-nacelle-model"]) == (200, "m"), answer.text
            assert answer.json()["model"] == "m"
        families = text_string_to_metric_families((await server.http.get("/metrics")).text)
        [family] = [one for one in families if one.name == "nacelle_variant_requests"]
        [total] = [sample for sample in family.samples if sample.name.endswith("_total")]
        assert (total.labels, total.value) == ({"variants": "test", "model": "m", "outcome": "ok"}, 2)

    run(scenario, vector_card(4))


def test_a_name_that_means_nothing_is_a_404_with_a_suggestion():
    async def scenario(server: VectorServer) -> None:
        server.router.names = NAMES
        for name, message in (
            (
                "gpt-5",
                "the model 'gpt-5' does not exist; did you mean 'gpt-4'? "
                "models served here: 'm', 'gpt-4', 'test-alias', 'test'",
            ),
            ("lost", "'lost' is an alias of 'gone', which is not served here"),
        ):
            answer = await server.post("/v1/embeddings", model=name, input="a")
            assert (answer.status_code, answer.json()["error"]["message"]) == (404, message)
            assert answer.json()["error"]["code"] == "model_not_found"
            assert "x-nacelle-model" not in answer.headers

    run(scenario, vector_card(4))
