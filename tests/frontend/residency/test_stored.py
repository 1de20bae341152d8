"""What a load took is known to the next server."""

from pathlib import Path

from frontend.models.inventory import Inventory
from frontend.models.locks import locked
from frontend.residency.measurements import Measurement
from frontend.residency.stored import StoredMeasurements
from tests.e2e.serving import wait_for


def test_what_was_measured_is_recalled_by_another_server(tmp_path: Path):
    folder = tmp_path / "ir"
    folder.mkdir()
    path = str(folder)
    first, second = (StoredMeasurements(Inventory(tmp_path / "store")) for _ in range(2))
    assert first.recall(path, "CPU") is None
    first.remember(path, "CPU", Measurement(1000, 2.5))
    found = wait_for(lambda: second.recall(path, "CPU"), "it is written")
    assert found == Measurement(1000, 2.5)
    assert second.recall(path, "GPU") is None


def test_to_remember_takes_no_time_even_if_the_store_is_busy(tmp_path: Path):
    store = Inventory(tmp_path / "store")
    store.root.mkdir()
    measurements = StoredMeasurements(store)
    with locked(store.root, f"learned/{tmp_path}"):
        measurements.remember(str(tmp_path), "CPU", Measurement(1, 1.0))
        assert measurements.recall(str(tmp_path), "CPU") is None
    wait_for(lambda: measurements.recall(str(tmp_path), "CPU"), "it is written once the store is free")


def test_a_model_without_files_has_no_measurements(tmp_path: Path):
    measurements = StoredMeasurements(Inventory(tmp_path / "store"))
    measurements.remember("", "CPU", Measurement(1, 1.0))
    assert measurements.recall("", "CPU") is None
    assert not (tmp_path / "store").exists()
