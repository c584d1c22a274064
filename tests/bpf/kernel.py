"""
Maps and programs in the running kernel, by the bpf() system call alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path

from attrs import define, field, frozen

from bpf.elf import INSTRUCTION, MapSpec, ObjectFile, ProgramSpec

SYSTEM_CALL = {"x86_64": 321, "aarch64": 280}
MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_NEXT_KEY, PROG_LOAD, PROG_TEST_RUN = 0, 1, 2, 3, 4, 5, 10
MAP_ARRAY, MAP_PERCPU_ARRAY = 2, 6
SCHED_CLS = 3
PSEUDO_MAP_FD = 1
LOG_SIZE = 1 << 22
CONTEXT, MARK = 192, 8  # bytes of struct __sk_buff, and where its mark stands
WHOLE_SUM = 1 << 2  # BPF_F_TEST_SKB_CHECKSUM_COMPLETE
REFUSALS = {errno.EPERM, errno.EACCES, errno.ENOSYS}

_libc = ctypes.CDLL(None, use_errno=True)


class RefusedError(Exception):
    """
    Raised when bpf() is not for this process: not there, or not allowed.
    """


def _bpf(command: int, attributes: bytearray) -> int:
    number = SYSTEM_CALL.get(platform.machine())
    if number is None or platform.system() != "Linux":
        raise RefusedError(f"no bpf() is known for {platform.system()} on {platform.machine()}")
    # What the call fills in is read from the same bytes.
    view = (ctypes.c_char * len(attributes)).from_buffer(attributes)
    result = int(_libc.syscall(number, command, view, len(attributes)))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _pointer(buffer: ctypes.Array[ctypes.c_char]) -> int:
    return ctypes.addressof(buffer)


def _buffer(data: bytes) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(data, max(len(data), 1))


@cache
def _cpus() -> int:
    """
    How many values a map has that keeps one for each processor.
    """
    return int(Path("/sys/devices/system/cpu/possible").read_text().strip().rsplit("-", maxsplit=1)[-1]) + 1


@define
class Map:
    """A map; it goes when it is closed and no program uses it."""

    fd: int
    spec: MapSpec

    @classmethod
    def create(cls, name: str, spec: MapSpec, entries: int | None = None) -> Map:
        attributes = bytearray(
            struct.pack(
                "<IIIIIII16s",
                spec.type,
                spec.key_size,
                spec.value_size,
                entries or spec.entries,
                spec.flags,
                0,
                0,
                name.encode()[:15],
            )
        )
        return cls(_bpf(MAP_CREATE, attributes), spec)

    @property
    def size(self) -> int:
        """Of a value as it is passed: of all processors together where each has its own."""
        if self.spec.type == MAP_PERCPU_ARRAY:
            return (self.spec.value_size + 7) // 8 * 8 * _cpus()
        return self.spec.value_size

    def _call(self, command: int, key: bytes | None, value: ctypes.Array[ctypes.c_char] | None) -> None:
        wanted = _buffer(key) if key is not None else None
        _bpf(
            command,
            bytearray(
                struct.pack(
                    "<I4xQQQ", self.fd, _pointer(wanted) if wanted else 0, _pointer(value) if value else 0, 0
                )
            ),
        )

    def get(self, key: bytes) -> bytes | None:
        """The value, all processors' one after another where each has its own; None where there is none."""
        assert len(key) == self.spec.key_size
        value = _buffer(bytes(self.size))
        try:
            self._call(MAP_LOOKUP, key, value)
        except FileNotFoundError:
            return None
        return value.raw

    def put(self, key: bytes, value: bytes) -> None:
        assert (len(key), len(value)) == (self.spec.key_size, self.size)
        self._call(MAP_UPDATE, key, _buffer(value))

    def remove(self, key: bytes) -> None:
        assert len(key) == self.spec.key_size
        self._call(MAP_DELETE, key, None)

    def keys(self) -> Iterator[bytes]:
        key: bytes | None = None
        while True:
            following = _buffer(bytes(self.spec.key_size))
            try:
                self._call(MAP_NEXT_KEY, key, following)
            except FileNotFoundError:
                return
            key = following.raw
            yield key


@frozen
class Outcome:
    """What a program made of a packet."""

    code: int
    frame: bytes
    mark: int = 0


@define
class Program:
    fd: int
    instructions: int

    @classmethod
    def load(cls, name: str, spec: ProgramSpec, maps: Mapping[str, Map], license_: str) -> Program:
        """
        Raises AssertionError with the verifier's log where it refuses the program.
        """
        code = bytearray(spec.instructions)
        for place, map_name in spec.maps.items():
            # The source register says that the number is a map's descriptor.
            code[place * INSTRUCTION + 1] = (code[place * INSTRUCTION + 1] & 0x0F) | PSEUDO_MAP_FD << 4
            struct.pack_into("<i", code, place * INSTRUCTION + 4, maps[map_name].fd)
        instructions, words = _buffer(bytes(code)), _buffer(license_.encode() + b"\0")
        count = len(code) // INSTRUCTION

        def attributes(log: ctypes.Array[ctypes.c_char] | None) -> bytearray:
            return bytearray(
                struct.pack(
                    "<IIQQIIQII16sII",
                    SCHED_CLS,
                    count,
                    _pointer(instructions),
                    _pointer(words),
                    1 if log else 0,
                    LOG_SIZE if log else 0,
                    _pointer(log) if log else 0,
                    0,
                    0,
                    name.encode()[:15],
                    0,
                    0,
                )
            )

        try:
            return cls(_bpf(PROG_LOAD, attributes(None)), count)
        except OSError as error:
            refusal = error
        # Once more, to hear why: writing the log takes longer than loading does.
        log = ctypes.create_string_buffer(LOG_SIZE)
        with suppress(OSError):
            os.close(_bpf(PROG_LOAD, attributes(log)))
        text = log.value.decode(errors="replace")
        raise AssertionError(f"{name} was refused: {refusal.strerror}\n{text[-6000:]}") from refusal

    def run(self, frame: bytes, flags: int = 0) -> Outcome:
        """
        What becomes of a frame.

        With `WHOLE_SUM` the packet is one whose sum a network card has taken over all its bytes, and OSError
        (EBADMSG) says that the program left that sum wrong.
        """
        given, taken = _buffer(frame), _buffer(bytes(len(frame) + 256))
        context = _buffer(bytes(CONTEXT))
        # 0 are: the code, to be filled in; repetitions and their time; sizes and places of the context.
        attributes = bytearray(
            struct.pack(
                "<IIIIQQIIIIQQII",
                *(self.fd, 0, len(frame), len(taken), _pointer(given), _pointer(taken)),
                *(0, 0, 0, CONTEXT, 0, _pointer(context), flags, 0),
            )
        )
        _bpf(PROG_TEST_RUN, attributes)
        _, code, _, size = struct.unpack_from("<IIII", attributes)
        return Outcome(code, taken.raw[:size], struct.unpack_from("<I", context.raw, MARK)[0])


RETURN_ZERO = struct.pack("<BBhi", 0xB7, 0, 0, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)


def probe() -> None:
    """
    Raises RefusedError, with the reason, where this process may not load programs.
    """
    code, words = _buffer(RETURN_ZERO), _buffer(b"GPL\0")
    count = len(RETURN_ZERO) // INSTRUCTION
    try:
        os.close(
            _bpf(
                PROG_LOAD, bytearray(struct.pack("<IIQQ", SCHED_CLS, count, _pointer(code), _pointer(words)))
            )
        )
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        raise RefusedError(
            f"bpf() refuses even a program that does nothing: {error.strerror} "
            "(it takes CONFIG_BPF_SYSCALL, CAP_BPF and CAP_NET_ADMIN)"
        ) from error


@define
class Loaded:
    """An object file in the kernel. Closing it leaves nothing behind."""

    maps: dict[str, Map] = field(factory=dict)
    programs: dict[str, Program] = field(factory=dict)

    @classmethod
    def load(cls, file: ObjectFile, entries: Mapping[str, int]) -> Loaded:
        """
        Maps get the number of entries given by name, else the one in the file.
        """
        loaded = cls()
        try:
            for name, spec in file.maps.items():
                loaded.maps[name] = Map.create(name, spec, entries.get(name))
            for name, program in file.programs.items():
                loaded.programs[name] = Program.load(name, program, loaded.maps, file.license)
        except BaseException:
            loaded.close()
            raise
        return loaded

    def close(self) -> None:
        for fd in [program.fd for program in self.programs.values()] + [
            table.fd for table in self.maps.values()
        ]:
            os.close(fd)
        self.maps.clear()
        self.programs.clear()
