"""Huge pages: what is asked for, and what the kernel gives."""

import mmap
from pathlib import Path

import pytest

from ipc import huge_pages
from tests.huge_pages import in_huge_pages, kernel_gives_them

MIB = 2**20
MAPS = """\
55d0c0000000-55d0c0400000 r-xp 00000000 fe:00 1234                       /usr/bin/python3
55d0c1000000-55d0c1500000 rw-p 00000000 00:00 0                          [heap]
7f0000100000-7f0000900000 rw-p 00000000 00:00 0
7f0010000000-7f0010800000 rw-s 00000000 00:01 5678                       /memfd:nacelle-request (deleted)
7f0020000000-7f0020800000 rw-p 00000000 fe:00 1234                       /models/openvino_model.bin
7f0030000000-7f0030800000 ---p 00000000 00:00 0
7f0040000000-7f00401ff000 rw-p 00000000 00:00 0
7f0050000000-7f0050400000 rw-p 00000000 00:00 0                          [anon: weights of a model]
7ffd00000000-7ffd00400000 rw-p 00000000 00:00 0                          [stack]
"""


def test_only_a_process_s_own_memory_is_moved_and_only_whole_pages():
    assert list(huge_pages._private(MAPS)) == [
        (0x55D0C1000000, 0x55D0C1400000),
        (0x7F0000200000, 0x7F0000800000),
        (0x7F0050000000, 0x7F0050400000),
    ]


@pytest.mark.parametrize(
    ("before", "added"),
    [
        ({}, {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}),
        (
            {"GLIBC_TUNABLES": "glibc.malloc.check=3"},
            {"GLIBC_TUNABLES": "glibc.malloc.check=3:glibc.malloc.hugetlb=1"},
        ),
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, {}),
    ],
)
def test_a_child_s_malloc_is_told_unless_somebody_has_chosen(before: dict[str, str], added: dict[str, str]):
    assert huge_pages.variables(before) == added


def test_memory_is_moved_where_the_kernel_gives_huge_pages_and_left_alone_elsewhere():
    expected = kernel_gives_them()
    with mmap.mmap(-1, 64 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(b"x" * (64 * MIB))
        before = in_huge_pages()
        huge_pages.collapse(60)
        assert (in_huge_pages() >= before + 60 * MIB) is expected
        assert memory[:] == b"x" * (64 * MIB)


def test_it_stops_when_its_time_is_over():
    with mmap.mmap(-1, 64 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(bytes(64 * MIB))
        before = in_huge_pages()
        huge_pages.collapse(-1)
        assert in_huge_pages() == before


@pytest.mark.parametrize("switch", ["always madvise [never]", None])
def test_the_machine_s_switch_is_obeyed(switch: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "enabled"
    if switch is not None:
        file.write_text(switch)
    monkeypatch.setattr(huge_pages, "_SWITCH", file)
    with mmap.mmap(-1, 64 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.write(bytes(64 * MIB))
        before = in_huge_pages()
        huge_pages.collapse(60)
        assert in_huge_pages() == before
