"""The readings that `export` has written: frames for brokers, rows for stores, cut where the frames are."""

import mmap
import os
import struct

HEAD = struct.Struct(">HIH")


class Frame:
    """What a gateway publishes at once; its number is its place in the file."""

    def __init__(self, number, topic, payload, readings):
        self.number, self.topic, self.payload, self.readings = number, topic, payload, readings


def frames(folder):
    """Topic, bytes and number of readings of each frame, in the order of the city."""
    found = []
    with open(os.path.join(folder, "frames"), "rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    at = 0
    while at < len(whole):
        topic, length, readings = HEAD.unpack_from(whole, at)
        at += HEAD.size
        found.append(Frame(len(found), str(whole[at : at + topic], "ascii"), whole[at + topic : at + topic + length], readings))
        at += topic + length
    return found


def rows(folder):
    """All rows as a numpy array that lies in the file."""
    import numpy

    kind = numpy.dtype(
        [("device", "<u4"), ("quantity", "<u2"), ("quality", "<u2"), ("cell", "<u8"), ("at_ms", "<i8"), ("value", "<f8")]
    )
    return numpy.memmap(os.path.join(folder, "rows"), dtype=kind, mode="r")


def groups(folder, size, most):
    """Rows in groups of so many frames, at most `most` readings in all; the rest that fills no group is left out."""
    table, cut, begin, end, inside = rows(folder), [], 0, 0, 0
    for frame in frames(folder):
        if end + frame.readings > min(len(table), most):
            break
        end, inside = end + frame.readings, inside + 1
        if inside == size:
            cut.append(table[begin:end])
            begin, inside = end, 0
    return cut
