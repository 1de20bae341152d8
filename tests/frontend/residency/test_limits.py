"""Budgets from settings, and what a container leaves."""

import pytest

from frontend.config import GIB, ConfigError, Settings
from frontend.residency.limits import available_bytes, limits_of


def test_the_default_budget_of_the_cpu_is_what_is_available_less_a_reserve():
    assert limits_of(Settings(), 10 * GIB).budgets == {"CPU": 9 * GIB}
    assert limits_of(Settings(), 100 * GIB).budgets == {"CPU": 98 * GIB}


def test_budgets_that_are_set_replace_the_default_and_may_name_any_device():
    settings = Settings(memory_budget_gib={"cpu": "1.5", "GPU.0": 8}, max_loaded_models=2)
    limits = limits_of(settings, 10 * GIB)
    assert limits.budgets == {"CPU": 3 * GIB // 2, "GPU.0": 8 * GIB}
    assert limits.max_loaded == 2


@pytest.mark.parametrize("written", ["", "much", "-1", "nan", 0])
def test_a_budget_that_is_no_size_is_an_error_that_names_the_device(written):
    with pytest.raises(ConfigError, match=r"memory_budget_gib: CPU must be a number of GiB above 0"):
        limits_of(Settings(memory_budget_gib={"CPU": written}), GIB)


def test_the_limit_of_a_container_counts_without_its_page_cache(tmp_path):
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("700000\n")
    (tmp_path / "memory.stat").write_text("anon 500000\ninactive_file 150000\n")
    assert available_bytes(tmp_path) == 450_000


def test_a_group_without_a_limit_changes_nothing(tmp_path):
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) > 1_000_000
