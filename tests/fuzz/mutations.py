"""Changes that know what a record is: they get deeper than changed bytes, most of which the first check refuses."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ebpfpy.btf.kinds import KIND_FLAG, RECORD_WORDS, VLEN_MASK

if TYPE_CHECKING:
    from random import Random

ABSURD = (0, 1, 4, 8, 32, 64, 0xFFFF, 0x0100_0000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x0FFF_FFFF, 0x4000_0000)


def mutate_btf(data: bytes, random: Random) -> bytes | None:
    """BTF with a few records changed, and its lengths put right; None if the header makes no sense."""
    if len(data) < 24 or data[:2] not in (b"\x9f\xeb", b"\xeb\x9f"):
        return None
    mark = "<" if data[0] == 0x9F else ">"
    length, type_off, type_len, str_off, str_len = struct.unpack_from(mark + "5I", data, 4)
    if not 24 <= length <= 256 or length + type_off + type_len > len(data) or length + str_off + str_len > len(data):
        return None
    types = data[length + type_off :][: type_len - type_len % 4]
    records = split_records(list(struct.unpack(f"{mark}{len(types) // 4}I", types)))
    strings = data[length + str_off :][:str_len]
    for _ in range(random.randint(1, 4)):
        _change(records, strings, random)
    words = [word for record in records for word in record]
    body = struct.pack(f"{mark}{len(words)}I", *words)
    head = bytearray(data[:length])
    layout = b""
    if length >= 32:
        layout_off, layout_len = struct.unpack_from(mark + "II", data, 24)
        layout = data[length + layout_off :][:layout_len]
        struct.pack_into(mark + "II", head, 24, len(body), len(layout))
    struct.pack_into(mark + "4I", head, 8, 0, len(body), len(body) + len(layout), len(strings))
    return bytes(head) + body + layout + strings


def split_records(words: list[int]) -> list[list[int]]:
    """Cut the words of a type section into records, as far as their kinds are known."""
    records, at = [], 0
    while at + 3 <= len(words):
        extra, entry = RECORD_WORDS.get(words[at + 1] >> 24 & 0x7F, (0, 0))
        end = at + 3 + extra + entry * (words[at + 1] & VLEN_MASK)
        records.append(words[at:end])
        at = end
    return records


def _change(records: list[list[int]], strings: bytes, random: Random) -> None:
    if not records:
        records.append([0, 1 << 24, 4, 32])
    index = random.randrange(len(records))
    record = records[index]
    any_id = random.randrange(len(records) + 2)
    match random.randrange(10):
        case 0:
            record[random.randrange(len(record))] = any_id
        case 1:
            record[2] = any_id
        case 2:
            record[random.randrange(len(record))] = random.choice(ABSURD)
        case 3:  # another kind, and as many words as it needs
            kind = random.randrange(1, 21)
            extra, entry = RECORD_WORDS.get(kind, (0, 0))
            vlen = random.randrange(4) if entry or kind == 12 else 0
            body = (record[3:] * 12)[: extra + entry * vlen]
            body += [any_id] * (extra + entry * vlen - len(body))
            record[1:] = [kind << 24 | vlen | random.choice((0, KIND_FLAG)), record[2], *body]
        case 4:
            record[1] ^= KIND_FLAG
        case 5:
            records.insert(random.randrange(len(records) + 1), list(random.choice(records)))
        case 6:
            del records[index]
        case 7:
            other = random.randrange(len(records))
            records[index], records[other] = records[other], records[index]
        case 8:
            starts = [0, *(at + 1 for at, byte in enumerate(strings[:-1]) if not byte)]
            record[0] = random.choice(starts)
        case _:  # one entry more or less
            extra, entry = RECORD_WORDS.get(record[1] >> 24 & 0x7F, (0, 0))
            if entry and len(record) >= 3 + entry and random.random() < 0.5:
                record[1] -= 1
                del record[-entry:]
            elif entry:
                record[1] += 1
                record += [random.choice((0, any_id, 8 * any_id)) for _ in range(entry)]
