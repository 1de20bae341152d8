"""Leases: allocation, bounds, release, and what a reader sees."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import pytest

from ipc.arena import ArenaConsumer, ArenaProducer, Lease, LeaseError, check_bounds
from ipc.memfd import copy_range

PAGE = 4096
MIB = 1024 * 1024


@pytest.fixture
def producer():
    arena = ArenaProducer("test", 16 * PAGE)
    yield arena
    arena.close()


def leased(arena: ArenaProducer, size: int) -> Lease:
    lease = arena.lease(size)
    assert lease is not None
    return lease


@pytest.fixture
def spooled():
    """An unlinked file of 48 MiB, as uploads are kept."""
    with tempfile.TemporaryFile() as file:
        for number in range(48):
            file.write(bytes([number]) * MIB)
        file.flush()
        yield file


def test_a_consumer_reads_what_the_producer_wrote(producer):
    lease = producer.lease(11)
    producer.write(lease, b"hello ")
    producer.write(lease, b"world", at=6)
    assert bytes(ArenaConsumer(producer.fd).view(lease)) == b"hello world"


def test_a_full_arena_gives_none_until_a_release(producer):
    first = producer.lease(10 * PAGE)
    assert producer.lease(7 * PAGE) is None
    producer.release(first.slot, first.generation)
    assert producer.lease(16 * PAGE) is not None


def test_more_than_the_arena_holds_is_an_error(producer):
    with pytest.raises(LeaseError, match="exceed"):
        producer.lease(17 * PAGE)


def test_a_stale_release_is_refused_and_frees_nothing(producer):
    first = producer.lease(PAGE)
    producer.release(first.slot, first.generation)
    second = producer.lease(PAGE)
    assert second.slot == first.slot
    with pytest.raises(LeaseError, match="not leased"):
        producer.release(first.slot, first.generation)
    assert producer.leased_bytes == PAGE


def test_writing_past_a_lease_is_refused(producer):
    lease = producer.lease(10)
    with pytest.raises(LeaseError, match="exceed a lease"):
        producer.write(lease, b"x" * 11)
    with pytest.raises(LeaseError):
        producer.write(lease, b"x", at=-1)


@pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, 17 * PAGE), (16 * PAGE, 1), (0, -1)])
def test_a_lease_outside_the_arena_is_refused_by_the_consumer(producer, offset, size):
    with pytest.raises(LeaseError, match="outside"):
        ArenaConsumer(producer.fd).view(Lease(0, 1, offset, size, "u1", (size,)))


def test_nobody_can_resize_the_memory_or_lift_the_seal(producer):
    with pytest.raises(OSError, match="not permitted"):
        os.ftruncate(producer.fd, PAGE)
    with pytest.raises(OSError, match="not permitted"):
        fcntl.fcntl(producer.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def mapped(label: str) -> bool:
    return f"/memfd:{label} " in Path("/proc/self/maps").read_text()


def mapped_bytes(label: str) -> int:
    """Resident bytes of this process's mappings of a memory file."""
    smaps = Path("/proc/self/smaps").read_text().split(f"/memfd:{label}")[1:]
    return sum(int(part.partition("Rss:")[2].split()[0]) * 1024 for part in smaps)


def test_writing_maps_no_more_than_the_first_part_of_an_arena_in_the_producer():
    arena = ArenaProducer("rush", 64 * MIB)
    content = os.urandom(48 * MIB)
    lease = leased(arena, 48 * MIB)
    arena.write(lease, content)
    assert mapped_bytes("rush") == 16 * MIB
    assert ArenaConsumer(arena.fd).copy(lease) == content
    arena.release(lease.slot, lease.generation)
    assert mapped_bytes("rush") <= 16 * MIB
    arena.close()


@pytest.mark.parametrize("offset", [0, 16 * MIB - PAGE, 16 * MIB, 20 * MIB])
def test_what_is_written_in_pieces_arrives_whole_wherever_the_lease_is(offset):
    arena = ArenaProducer("pieces", 32 * MIB)
    if offset:
        leased(arena, offset)
    lease = leased(arena, 3 * PAGE)
    assert lease.offset == offset
    content = os.urandom(3 * PAGE)
    for at in range(0, 3 * PAGE, 1000):
        arena.write(lease, content[at : at + 1000], at)
    consumer = ArenaConsumer(arena.fd)
    assert bytes(consumer.view(lease)) == consumer.copy(lease) == content
    arena.close()


def test_a_tensor_is_computed_in_place_and_read_without_a_copy(producer):
    lease = producer.lease(6 * 4, "f4", (2, 3))
    numpy.frombuffer(producer.view(lease), lease.dtype).reshape(lease.shape)[...] = [[1, 2, 3], [4, 5, 6]]
    read = numpy.frombuffer(ArenaConsumer(producer.fd).view(lease), lease.dtype).reshape(lease.shape)
    assert read.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_view_covers_exactly_the_bytes_of_its_lease(producer):
    before, lease, after = (producer.lease(PAGE - 1) for _ in range(3))
    producer.view(lease)[:] = b"x" * (PAGE - 1)
    consumer = ArenaConsumer(producer.fd)
    assert consumer.copy(before) == consumer.copy(after) == bytes(PAGE - 1)
    assert consumer.copy(lease) == b"x" * (PAGE - 1)


def test_an_arena_closes_under_a_view_that_somebody_still_reads():
    arena = ArenaProducer("viewed", 16 * PAGE)
    view = arena.view(leased(arena, PAGE))
    view[:5] = b"hello"
    array = numpy.frombuffer(view, "u1")
    arena.close()
    assert bytes(array[:5]) == b"hello"
    assert mapped("viewed")
    del array, view, arena
    assert not mapped("viewed")


def test_a_consumer_closes_under_a_view_that_somebody_still_reads(producer):
    lease = producer.lease(5)
    producer.write(lease, b"hello")
    consumer = ArenaConsumer(producer.fd)
    view = consumer.view(lease)
    consumer.close()
    assert bytes(view) == b"hello"


@pytest.mark.parametrize("keep", ["open", "dropped"])
def test_a_consumer_gives_its_descriptor_back(producer, keep):
    before = open_descriptors()
    consumer = ArenaConsumer(producer.fd)
    if keep == "open":
        consumer.close()
    del consumer
    assert open_descriptors() == before


def test_views_count_as_touched_so_that_an_idle_producer_gives_their_memory_back():
    arena = ArenaProducer("viewed-rush", 64 * MIB)
    lease = leased(arena, 48 * MIB)
    numpy.frombuffer(arena.view(lease), "u1")[:] = 1
    assert mapped_bytes("viewed-rush") >= 48 * MIB
    arena.release(lease.slot, lease.generation)
    assert mapped_bytes("viewed-rush") <= 16 * MIB
    arena.close()


def test_an_inherited_arena_is_allocated_in_by_another_process():
    """A result arena: created here, leased and filled by the child, read here."""
    arena = ArenaProducer("results", 16 * PAGE)
    code = (
        "import sys; from ipc.arena import ArenaProducer; arena = ArenaProducer.from_fd(int(sys.argv[1]))\n"
        "arena.lease(PAGE); lease = arena.lease(5); arena.write(lease, b'hello')\n"
        "print(lease.offset, arena.size)"
    ).replace("PAGE", str(PAGE))
    command = [sys.executable, "-P", "-c", code, str(arena.fd)]
    child = subprocess.run(
        command, pass_fds=[arena.fd], capture_output=True, text=True, check=True, timeout=60
    )
    assert child.stdout.split() == [str(PAGE), str(16 * PAGE)]
    assert ArenaConsumer(arena.fd).copy(Lease(1, 2, PAGE, 5, "u1", (5,))) == b"hello"
    arena.close()


def test_an_arena_of_odd_size_has_room_for_all_of_it():
    arena = ArenaProducer("odd", PAGE + 10)
    assert arena.lease(PAGE + 10) is not None
    arena.close()


def test_a_shared_lease_is_freed_with_its_last_holder(producer):
    lease = producer.lease(PAGE)
    producer.share(lease)
    producer.share(lease)
    for _ in range(2):
        producer.release(lease.slot, lease.generation)
        assert producer.leased_bytes == PAGE
    producer.release(lease.slot, lease.generation)
    assert producer.leased_bytes == 0
    with pytest.raises(LeaseError, match="not leased"):
        producer.release(lease.slot, lease.generation)


@pytest.mark.parametrize(
    "use",
    [
        lambda arena, lease: arena.share(lease),
        lambda arena, lease: arena.view(lease),
        lambda arena, lease: arena.write(lease, b"x"),
        lambda arena, lease: arena.write_from(lease, arena.fd, 1),
    ],
    ids=["share", "view", "write", "write_from"],
)
def test_a_lease_that_was_released_cannot_be_used(producer, use):
    lease = producer.lease(PAGE)
    producer.release(lease.slot, lease.generation)
    producer.lease(PAGE)  # in the same slot
    with pytest.raises(LeaseError, match="not leased"):
        use(producer, lease)


def test_a_spooled_file_is_copied_without_counting_in_the_producers_memory(spooled):
    arena = ArenaProducer("spooled", 64 * MIB)
    lease = leased(arena, 48 * MIB + 3)
    arena.write(lease, b"abc")
    before = mapped_bytes("spooled")
    assert before > 0
    arena.write_from(lease, spooled.fileno(), 48 * MIB, at=3)
    assert mapped_bytes("spooled") == before
    spooled.seek(0)
    assert ArenaConsumer(arena.fd).view(lease) == b"abc" + spooled.read()
    arena.close()


def test_a_spooled_file_shorter_than_announced_is_an_error(spooled):
    arena = ArenaProducer("short", 64 * MIB)
    lease = leased(arena, 50 * MIB)
    with pytest.raises(LeaseError, match=f"after {48 * MIB} of {50 * MIB} bytes"):
        arena.write_from(lease, spooled.fileno(), 50 * MIB)
    with pytest.raises(LeaseError, match="exceed a lease"):
        arena.write_from(lease, spooled.fileno(), MIB, at=50 * MIB)
    arena.close()


def test_an_arena_that_closes_during_a_copy_keeps_the_copy_out_of_other_files(spooled, monkeypatch, tmp_path):
    arena = ArenaProducer("closed", 64 * MIB)
    lease = leased(arena, 48 * MIB)
    innocent = tmp_path / "innocent"

    def closing_first(source, source_offset, target, target_offset, size):
        number = arena.fd
        arena.close()
        with innocent.open("w+b") as file:  # takes the number of the closed descriptor
            assert file.fileno() == number
            return copy_range(source, source_offset, target, target_offset, size)

    monkeypatch.setattr("ipc.arena.copy_range", closing_first)
    before = open_descriptors()
    arena.write_from(lease, spooled.fileno(), 48 * MIB)
    assert innocent.stat().st_size == 0
    assert open_descriptors() == before - 2  # the arena's and its mapping's
    with pytest.raises(LeaseError, match="not leased"):
        arena.write_from(lease, spooled.fileno(), 48 * MIB)


def test_a_copy_is_the_same_wherever_the_lease_is_and_maps_nothing_past_the_first_part(spooled):
    arena = ArenaProducer("copied", 64 * MIB)
    first, second = leased(arena, 4 * MIB), leased(arena, 44 * MIB)
    arena.write_from(first, spooled.fileno(), 4 * MIB)
    arena.write_from(second, spooled.fileno(), 44 * MIB)
    consumer = ArenaConsumer(arena.fd)
    spooled.seek(0)
    content = spooled.read()
    assert consumer.copy(first) == content[: 4 * MIB]
    assert consumer.copy(second) == content[: 44 * MIB]
    assert mapped_bytes("copied") <= 16 * MIB
    arena.close()


def test_a_copy_does_not_change_with_the_original(producer):
    lease = producer.lease(5)
    producer.write(lease, b"hello")
    copied = ArenaConsumer(producer.fd).copy(lease)
    producer.write(lease, b"jelly")
    assert copied == b"hello"


@pytest.mark.parametrize(
    ("size", "dtype", "shape"),
    [
        (10, "u1", (10,)),
        (24, "f4", (2, 3)),
        (24, "i8", (3, 1, 1, 1, 1, 1, 1, 1)),
        (2, "f2", ()),
        (0, "f4", (0, 384)),
        (16 * PAGE, "u2", (8 * PAGE,)),
    ],
)
def test_a_tensor_whose_size_fits_its_dtype_and_shape_is_in_bounds(size, dtype, shape):
    check_bounds(Lease(0, 1, 0, size, dtype, shape), 16 * PAGE)
    assert numpy.zeros(size, "u1").view(dtype).reshape(shape).nbytes == size  # numpy agrees


@pytest.mark.parametrize(
    ("size", "dtype", "shape", "message"),
    [
        (10, "u1", (11,), "does not have 10 bytes"),
        (10, "f4", (10,), "does not have 10 bytes"),
        (10, "u1", (), "does not have 10 bytes"),
        (4, "u1", (-2, -2), "impossible shape"),
        (0, "u1", (0, 2**62, 2**62), "impossible shape"),
        (0, "u1", (2**64 - 1, 0), "impossible shape"),
        (1, "u1", (1,) * 9, "9 dimensions, at most 8"),
        (8, "O", (1,), "unknown dtype 'O'"),
        (8, ">f8", (1,), "unknown dtype"),
        (8, "V8", (1,), "unknown dtype"),
        (8, "f8,f8", (1,), "unknown dtype"),
        (0, "", (0,), "unknown dtype ''"),
    ],
)
def test_a_tensor_whose_size_does_not_fit_is_refused_by_both_sides(producer, size, dtype, shape, message):
    lease = Lease(0, 1, 0, size, dtype, shape)
    for refuse in (ArenaConsumer(producer.fd).view, ArenaConsumer(producer.fd).copy):
        with pytest.raises(LeaseError, match=message):
            refuse(lease)
    with pytest.raises(LeaseError, match=message):
        producer.lease(size, dtype, shape)
    assert producer.leased_bytes == 0


def test_a_lease_without_a_shape_is_a_vector(producer):
    assert producer.lease(10).shape == (10,)
    assert producer.lease(12, "f4").shape == (3,)


def test_an_idle_producer_gives_back_the_memory_of_large_leases():
    size = 256 * 1024 * 1024
    producer = ArenaProducer("test", size)
    try:
        small, lease = producer.lease(4096), producer.lease(200 * 1024 * 1024)
        assert small is not None and lease is not None
        producer.write(small, b"x" * 4096)
        producer.write(lease, b"y" * lease.size)
        in_memory = os.fstat(producer.fd).st_blocks * 512
        assert in_memory >= lease.size
        producer.release(lease.slot, lease.generation)
        assert os.fstat(producer.fd).st_blocks * 512 == in_memory  # others may be next to it
        producer.release(small.slot, small.generation)
        assert os.fstat(producer.fd).st_blocks * 512 <= 64 * 1024 * 1024
        again = producer.lease(200 * 1024 * 1024)
        assert again is not None
        assert bytes(producer.view(again)[-4:]) == bytes(4)
    finally:
        producer.close()


def test_memory_is_given_back_in_pieces_until_the_arena_is_used_again():
    size = 80 * 1024 * 1024
    producer = ArenaProducer("test", size)
    try:
        lease = producer.lease(size)
        assert lease is not None
        os.posix_fallocate(producer.fd, 0, size)
        before = os.fstat(producer.fd).st_blocks * 512
        producer.release(lease.slot, lease.generation, trim=False)
        assert os.fstat(producer.fd).st_blocks * 512 == before
        assert producer.trim_some()
        assert 64 * 1024 * 1024 < os.fstat(producer.fd).st_blocks * 512 < before
        again = producer.lease(size)
        assert again is not None
        producer.write(again, b"kept", size - 4)
        assert not producer.trim_some()
        assert bytes(producer.view(again)[-4:]) == b"kept"
        producer.release(again.slot, again.generation, trim=False)
        while producer.trim_some():
            pass
        assert os.fstat(producer.fd).st_blocks * 512 == 64 * 1024 * 1024
    finally:
        producer.close()
