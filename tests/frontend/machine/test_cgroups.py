"""Limits of control groups, of both versions."""

from pathlib import Path

from frontend.machine.cgroups import cpu_quota, tightest_memory


def write(root: Path, **files: str) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (root / name.replace("__", ".")).write_text(text)


def own(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "own"
    file.write_text(text)
    return file


def test_the_tightest_group_of_the_second_version_counts(tmp_path):
    root, listing = tmp_path / "cgroup", own(tmp_path, "0::/a/b\n")
    write(root / "a/b", cpu__max="max 100000\n", memory__max="max\n", memory__current="7\n")
    write(
        root / "a",
        cpu__max="150000 100000\n",
        memory__max="1000\n",
        memory__current="900\n",
        memory__stat="anon 1\ninactive_file 200\n",
    )
    write(root, cpu__max="400000 100000\n")
    assert cpu_quota(root, listing) == 1.5
    assert tightest_memory(root, listing) == (1000, 700)  # the parent's own use, less page cache


def test_the_first_version_has_a_tree_for_each_controller(tmp_path):
    root, listing = tmp_path / "cgroup", own(tmp_path, "4:memory:/x\n2:cpu,cpuacct:/y\n1:pids:/z\n0::/\n")
    write(root / "cpu,cpuacct/y", cpu__cfs_quota_us="250000\n", cpu__cfs_period_us="100000\n")
    write(root / "memory/x", memory__limit_in_bytes="2000\n", memory__usage_in_bytes="5\n")
    write(root / "memory", memory__limit_in_bytes=f"{2**63 - 4096}\n")
    assert cpu_quota(root, listing) == 2.5
    assert tightest_memory(root, listing) == (2000, 5)


def test_without_limits_there_is_none(tmp_path):
    root, listing = tmp_path / "cgroup", own(tmp_path, "2:cpu:/\n0::/\n")
    write(root / "cpu", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert cpu_quota(root, listing) is None
    assert tightest_memory(root, listing) is None
    assert tightest_memory(root, tmp_path / "nosuch") is None
