"""
As much of ELF as an object of tc programs needs: its maps, its programs, and which map an instruction wants.
"""

from __future__ import annotations

import struct
from pathlib import Path

from attrs import frozen

SHT_SYMTAB, SHT_REL = 2, 9
STT_FUNC = 2
EM_BPF = 247
R_BPF_64_64 = 1
INSTRUCTION = 8


@frozen
class MapSpec:
    """What `struct fm_map` of cpp/datapath/kernel.h says."""

    type: int
    key_size: int
    value_size: int
    entries: int
    flags: int


@frozen
class ProgramSpec:
    """Instructions, and the map that each of those at these places takes the address of."""

    instructions: bytes
    maps: dict[int, str]


@frozen
class ObjectFile:
    maps: dict[str, MapSpec]
    programs: dict[str, ProgramSpec]
    license: str


@frozen
class _Section:
    name: str
    type: int
    link: int
    info: int
    data: bytes


@frozen
class _Symbol:
    name: str
    kind: int
    section: int
    value: int
    size: int


def _text(table: bytes, at: int) -> str:
    return table[at : table.index(b"\0", at)].decode()


def _sections(image: bytes) -> list[_Section]:
    magic, machine, table, entry, count, names = struct.unpack("<6s12xH20xQ10xHHH", image[:64])
    if magic != b"\x7fELF\x02\x01" or machine != EM_BPF:
        raise ValueError("not a little-endian 64-bit ELF file for BPF")
    headers = [struct.unpack_from("<IIQQQQIIQQ", image, table + index * entry) for index in range(count)]

    def data(header: tuple[int, ...]) -> bytes:
        return image[header[4] : header[4] + header[5]]

    words = data(headers[names])
    return [_Section(_text(words, h[0]), h[1], h[6], h[7], data(h)) for h in headers]


def _symbols(sections: list[_Section]) -> list[_Symbol]:
    table = next(section for section in sections if section.type == SHT_SYMTAB)
    names = sections[table.link].data
    return [
        _Symbol(_text(names, name), info & 15, section, value, size)
        for name, info, _, section, value, size in struct.iter_unpack("<IBBHQQ", table.data)
    ]


def read_object(path: Path) -> ObjectFile:
    """
    The maps, programs and licence of an object file.

    Raises ValueError where the file is not of that kind, or asks for a relocation other than a map's address.
    """
    sections = _sections(path.read_bytes())
    symbols = _symbols(sections)
    place = next(index for index, section in enumerate(sections) if section.name == "maps")
    maps = {
        symbol.name: MapSpec(*struct.unpack_from("<5I", sections[place].data, symbol.value))
        for symbol in symbols
        if symbol.section == place and symbol.size
    }

    programs: dict[str, ProgramSpec] = {}
    for index, section in enumerate(sections):
        for symbol in symbols:
            if symbol.section != index or symbol.kind != STT_FUNC:
                continue
            used: dict[int, str] = {}
            for relocations in sections:
                if relocations.type != SHT_REL or relocations.info != index:
                    continue
                for offset, info in struct.iter_unpack("<QQ", relocations.data):
                    name = symbols[info >> 32].name
                    if info & 0xFFFFFFFF != R_BPF_64_64 or name not in maps:
                        raise ValueError(
                            f"{path}: {section.name} at {offset}: not the address of a map: {name}"
                        )
                    used[offset // INSTRUCTION] = name
            programs[symbol.name] = ProgramSpec(section.data, used)
    license_ = next(section.data for section in sections if section.name == "license")
    return ObjectFile(maps, programs, license_.rstrip(b"\0").decode())
