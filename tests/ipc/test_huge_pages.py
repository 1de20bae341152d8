"""Huge pages: what is asked for, and what the kernel gives."""

import mmap
from pathlib import Path

import pytest

from ipc import huge_pages
from tests.huge_pages import in_huge_pages, kernel_gives_them, small_pages

MIB = 2**20


def mapping(line: bytes, resident_kib: int) -> bytes:
    return b"%s\nSize: 8192 kB\nRss: %8d kB\nVmFlags: rd wr mr\n" % (line, resident_kib)


SMAPS = b"".join(
    [
        mapping(b"55d0c0000000-55d0c0400000 r-xp 00000000 fe:00 1234       /usr/bin/python3", 4096),
        mapping(b"55d0c1000000-55d0c1500000 rw-p 00000000 00:00 0          [heap]", 5120),
        mapping(b"7f0000100000-7f0000900000 rw-p 00000000 00:00 0 ", 8000),
        mapping(b"7f0010000000-7f0010800000 rw-s 00000000 00:01 5678  /memfd:nacelle (deleted)", 8192),
        mapping("7f0020000000-7f0020800000 rw-p 00000000 fe:00 9 /caf\u2028\xe9\x0c \r.bin".encode(), 8192),
        mapping(b"7f0028000000-7f0028800000 rw-p 00000000 fe:00 9          /\xff\xe9 x.bin", 8192),
        mapping(b"7f0030000000-7f0030800000 ---p 00000000 00:00 0 ", 0),
        mapping(b"7f0040000000-7f00401ff000 rw-p 00000000 00:00 0 ", 2044),
        mapping(b"7f0048000000-7f0048800000 rw-p 00000000 00:00 0 ", 120),
        mapping(b"7f0050000000-7f0050400000 rw-p 00000000 00:00 0          [anon: weights of a model]", 4096),
        mapping(b"7ffd00000000-7ffd00400000 rw-p 00000000 00:00 0          [stack]", 4096),
    ]
)


def test_only_a_process_s_own_well_filled_memory_is_moved_and_only_whole_pages():
    assert huge_pages._well_filled(SMAPS) == [
        (0x55D0C1000000, 0x55D0C1400000),
        (0x7F0000200000, 0x7F0000800000),
        (0x7F0050000000, 0x7F0050400000),
    ]


def test_the_kernel_s_own_list_can_be_read():
    with small_pages(64 * MIB):
        assert any(end - start >= 60 * MIB for start, end in huge_pages._well_filled(huge_pages._smaps()))


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


def test_memory_is_moved_where_the_kernel_gives_huge_pages():
    with small_pages(64 * MIB) as memory:
        before = in_huge_pages()
        huge_pages.collapse(60)
        if kernel_gives_them():
            assert in_huge_pages() >= before + 60 * MIB
        assert memory[:] == b"x" * (64 * MIB)


def test_memory_that_is_hardly_used_does_not_grow():
    with mmap.mmap(-1, 64 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(0, 64 * MIB, 2 * MIB):
            memory[page] = 1
        memory.madvise(mmap.MADV_HUGEPAGE)
        before = in_huge_pages()
        huge_pages.collapse(60)
        assert in_huge_pages() < before + 32 * MIB


def test_it_stops_when_its_time_is_over():
    with small_pages(64 * MIB):
        before = in_huge_pages()
        huge_pages.collapse(-1)
        assert in_huge_pages() < before + 32 * MIB


@pytest.mark.parametrize("text", ["always madvise [never]", "", None])
def test_the_machine_s_setting_is_obeyed(text: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "enabled"
    if text is not None:
        file.write_text(text)
    monkeypatch.setattr(huge_pages, "_SETTING", file)
    nothing_is_moved()


def test_who_runs_the_server_can_switch_them_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    nothing_is_moved()


def test_where_the_kernel_does_not_list_memory_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(huge_pages, "_SMAPS", tmp_path / "none")
    nothing_is_moved()


def nothing_is_moved() -> None:
    with small_pages(64 * MIB):
        before = in_huge_pages()
        huge_pages.collapse(60)
        assert in_huge_pages() < before + 32 * MIB
