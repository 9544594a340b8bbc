from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

import pytest

from corten.errors import CommandNotFound, CommandNotRunnable
from corten.runtime.command import resolve
from corten.sys.machine import MACHINE

_MACHINES = {"x86_64": 62, "aarch64": 183}


def program(path: Path, content: bytes, mode: int = 0o755) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def elf(machine: int, *, wide: bool = True, loader: str = "") -> bytes:
    """The head of a little-endian program, with its program header."""
    interpreter = loader.encode() + b"\0"
    size, entry = (64, 56) if wide else (52, 32)
    where = size + entry
    ident = b"\x7fELF" + bytes((2 if wide else 1, 1, 1)) + bytes(9)
    kind = 3 if loader else 1
    if wide:
        head = ident + struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, 0, size, 0, 0, size, entry, 1, 0, 0, 0)
        segment = struct.pack("<IIQQQQQQ", kind, 4, where, 0, 0, len(interpreter), len(interpreter), 1)
    else:
        head = ident + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, 0, size, 0, 0, size, entry, 1, 0, 0, 0)
        segment = struct.pack("<IIIIIIII", kind, where, 0, 0, len(interpreter), len(interpreter), 4, 1)
    return head + segment + interpreter


OURS = elf(_MACHINES[MACHINE])


def test_a_name_is_looked_for_in_order(tmp_path: Path) -> None:
    program(tmp_path / "a/tool", OURS, 0o644)
    expected = program(tmp_path / "b/tool", OURS)
    (tmp_path / "c/tool").mkdir(parents=True)
    assert resolve("tool", f"{tmp_path}/none:{tmp_path}/c:{tmp_path}/b") == expected


def test_a_missing_command_tells_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CommandNotFound, match="not found in \\$PATH") as caught:
        resolve("nothing", f"{tmp_path}:/nowhere")
    assert caught.value.hint == f"searched {tmp_path}:/nowhere"
    assert caught.value.exit_code == 127


@pytest.mark.parametrize("name", ["", "/nowhere/tool", "./tool", "/dev/null/tool"])
def test_not_there(name: str) -> None:
    with pytest.raises(CommandNotFound):
        resolve(name, "/bin")


def test_a_directory_and_a_file_without_exec_bit_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(CommandNotRunnable, match="is a directory") as caught:
        resolve(str(tmp_path), "")
    assert caught.value.exit_code == 126
    plain = program(tmp_path / "plain", OURS, 0o644)
    with pytest.raises(CommandNotRunnable, match="permission denied") as caught:
        resolve(plain, "")
    assert "no exec bit" in caught.value.hint
    with pytest.raises(CommandNotRunnable, match="permission denied"):
        resolve("plain", str(tmp_path))


def test_scripts(tmp_path: Path) -> None:
    interpreter = program(tmp_path / "sh", OURS)
    good = program(tmp_path / "good", f"#! {interpreter} -e\necho\n".encode())
    assert resolve(good, "") == good
    nested = program(tmp_path / "nested", f"#!{good}\n".encode())
    assert resolve(nested, "") == nested
    missing = program(tmp_path / "missing", b"#!/no/such/python3\n")
    with pytest.raises(CommandNotFound, match="interpreter /no/such/python3") as caught:
        resolve(missing, "")
    assert caught.value.exit_code == 127
    windows = program(tmp_path / "windows", f"#!{interpreter}\r\necho\r\n".encode())
    with pytest.raises(CommandNotRunnable, match="carriage return"):
        resolve(windows, "")
    empty = program(tmp_path / "empty", b"#!  \n")
    with pytest.raises(CommandNotRunnable, match="exec format error"):
        resolve(empty, "")


@pytest.mark.parametrize("target", ["/proc/self/exe", "/proc/thread-self/exe", "/proc/self/fd/0"])
def test_nothing_leads_to_the_runtime_itself(tmp_path: Path, target: str) -> None:
    with pytest.raises(CommandNotRunnable, match="link into /proc"):
        resolve(target, "")
    linked = tmp_path / "linked"
    linked.symlink_to(target)
    with pytest.raises(CommandNotRunnable, match="link into /proc"):
        resolve(str(linked), "")
    script = program(tmp_path / "script", f"#!{target}\n".encode())
    with pytest.raises(CommandNotRunnable, match="link into /proc"):
        resolve(script, "")
    nested = program(tmp_path / "nested", f"#!{script}\n".encode())
    with pytest.raises(CommandNotRunnable, match="link into /proc"):
        resolve(nested, "")
    loaded = program(tmp_path / "loaded", elf(_MACHINES[MACHINE], loader=target))
    with pytest.raises(CommandNotRunnable, match="link into /proc"):
        resolve(loaded, "")


@pytest.mark.parametrize(("machine", "name"), [(21, "ppc64le"), (243, "riscv64"), (999, "machine 999")])
def test_another_machines_program(tmp_path: Path, machine: int, name: str) -> None:
    foreign = program(tmp_path / "foreign", elf(machine))
    with pytest.raises(CommandNotRunnable, match="exec format error") as caught:
        resolve(foreign, "")
    assert name in caught.value.hint


def test_big_endian_is_another_machine(tmp_path: Path) -> None:
    head = bytearray(OURS)
    head[5], head[18:20] = 2, (22).to_bytes(2, "big")
    with pytest.raises(CommandNotRunnable) as caught:
        resolve(program(tmp_path / "s390x", bytes(head)), "")
    assert "s390x" in caught.value.hint


@pytest.mark.parametrize("wide", [True, False])
def test_a_missing_loader_is_named(tmp_path: Path, wide: bool) -> None:
    machine = _MACHINES[MACHINE] if wide else {"x86_64": 3, "aarch64": 40}[MACHINE]
    linked = program(tmp_path / "linked", elf(machine, wide=wide, loader="/lib/ld-none.so.1"))
    with pytest.raises(CommandNotFound, match=r"interpreter /lib/ld-none\.so\.1") as caught:
        resolve(linked, "")
    assert "C library" in caught.value.hint


@pytest.mark.parametrize("length", range(0, 124, 4))
def test_a_truncated_program_is_left_to_the_kernel(tmp_path: Path, length: int) -> None:
    if length < 20:
        return
    cut = program(tmp_path / "cut", elf(_MACHINES[MACHINE], loader="/lib/x")[:length])
    with contextlib.suppress(CommandNotFound):  # a whole header names a loader that is not there
        resolve(cut, "")


def test_what_may_not_be_read_may_be_executed(tmp_path: Path) -> None:
    path = program(tmp_path / "secret", OURS, 0o711)
    child = os.fork()
    if not child:
        try:
            tmp_path.chmod(0o755)
            os.setresuid(65534, 65534, 65534)
            os._exit(0 if _resolves(path) else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) in ((0,) if os.geteuid() == 0 else (0, 2))


def _resolves(path: str) -> bool:
    try:
        return resolve(path, "") == path
    except CommandNotRunnable as error:
        # Where the temporary directory itself is closed to others, that is what it says.
        return "permission denied" in error.message
