"""What is on a screenshot: pixels(png) -> rows of (red, green, blue)."""
import struct
import zlib


def pixels(png):
    """Rows of (red, green, blue) of a PNG of 8 bits a level, in true colour, not interlaced (RFC 2083)."""
    place, packed, width, depth = 8, b"", 0, 0
    while place < len(png):
        size, kind = struct.unpack(">I4s", png[place:place + 8])
        data = png[place + 8:place + 8 + size]
        if kind == b"IHDR":
            width, height, bits, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data)
            assert (bits, interlaced) == (8, 0) and colour in (2, 6)
            depth = 3 if colour == 2 else 4
        packed += data if kind == b"IDAT" else b""
        place += 12 + size
    data, step = zlib.decompress(packed), width * depth + 1
    above, rows = bytes(step - 1), []
    for start in range(0, len(data), step):
        above = unfiltered(data[start], bytearray(data[start + 1:start + step]), above, depth)
        rows.append([tuple(above[at:at + 3]) for at in range(0, step - 1, depth)])
    return rows


def unfiltered(kind, row, above, depth):
    """A row of bytes as it was before PNG's filter `kind`; above: the row above it."""
    for at in range(len(row)):
        left, up, corner = (row[at - depth], above[at], above[at - depth]) if at >= depth else (0, above[at], 0)
        guess = left + up - corner
        paeth = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))[2]
        row[at] = (row[at] + (0, left, up, (left + up) // 2, paeth)[kind]) & 255
    return bytes(row)
