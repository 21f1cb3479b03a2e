"""Rows on their way to the database in files."""

import os

import msgspec

from agentcache.gateway.batch_files import ABANDONED_SECONDS, BatchFiles, waiting_files
from agentcache.kit.clock import SystemClock


class Row(msgspec.Struct):
    text: str


async def test_what_a_killed_process_left_half_written_is_swept_at_start(tmp_path):
    clock = SystemClock()
    for name, age in (("old.unfinished", ABANDONED_SECONDS + 60), ("young.unfinished", 1.0), ("old.rows", 9_999.0)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (clock.now() - age,) * 2)
    files = BatchFiles(tmp_path, ".rows", clock).start()
    assert {path.name for path in tmp_path.iterdir()} == {"young.unfinished", "old.rows"}
    files.add(Row("kept"))
    await files.close()
    (written,) = (path for path in waiting_files(tmp_path, ".rows") if path.name != "old.rows")
    assert msgspec.msgpack.decode(written.read_bytes(), type=list[Row]) == [Row("kept")]


async def test_a_folder_that_is_not_there_yet_is_no_trouble(tmp_path):
    files = BatchFiles(tmp_path / "new", ".rows", SystemClock()).start()
    files.add(Row("kept"))
    await files.close()
    assert len(waiting_files(tmp_path / "new", ".rows")) == 1


async def test_what_is_too_much_is_dropped_before_it_fills_memory_or_disk(tmp_path):
    files = BatchFiles(tmp_path, ".rows", SystemClock(), waiting_max=2, files_max=1)
    for text in "abcd":
        files.add(Row(text))
    await files.flush()
    files.add(Row("e"))
    await files.flush()
    (written,) = waiting_files(tmp_path, ".rows")
    assert msgspec.msgpack.decode(written.read_bytes(), type=list[Row]) == [Row("c"), Row("d")]
