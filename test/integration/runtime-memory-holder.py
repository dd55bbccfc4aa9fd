"""Maps parts of a file privately, as a VMM does its guest's memory, and does with them what it is told.

Arguments: the file, then `offset:length` of each mapping in bytes. Each line on standard input is answered by one line.
"""
import ctypes
import hashlib
import mmap
import sys

PAGE = 4096
MAP_FIXED = 0x10
PROT = mmap.PROT_READ | mmap.PROT_WRITE
path, parts = sys.argv[1], [tuple(map(int, part.split(":"))) for part in sys.argv[2:]]
file = open(path, "rb")
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]

# A stretch of addresses in which each part lies apart from the next, so that the kernel does not join them.
gap = 16 * PAGE
room = libc.mmap(None, sum(length + gap for _, length in parts), 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
maps = []
for offset, length in parts:
    address = libc.mmap(room, length, PROT, mmap.MAP_PRIVATE | MAP_FIXED, file.fileno(), offset)
    assert address == room, ctypes.get_errno()
    maps.append((offset, memoryview((ctypes.c_char * length).from_address(address)).cast("B")))
    room += length + gap


def place(page):
    for offset, memory in maps:
        if offset <= page * PAGE < offset + len(memory):
            return memory, page * PAGE - offset
    raise ValueError(page)


def fill(page, count, byte):
    for number in range(page, page + count):
        memory, at = place(number)
        memory[at : at + PAGE] = bytes([byte]) * PAGE
    return "filled"


def touch(page, count):
    """Writes what is there already: the page becomes the process's own, its bytes stay."""
    for number in range(page, page + count):
        memory, at = place(number)
        memory[at] = memory[at]
    return "touched"


def digest():
    whole = hashlib.sha256()
    for _, memory in sorted(maps, key=lambda entry: entry[0]):
        whole.update(memory)
    return whole.hexdigest()


commands = {"fill": fill, "touch": touch, "digest": digest}
print("mapped", flush=True)
for line in sys.stdin:
    name, *numbers = line.split()
    print(commands[name](*map(int, numbers)), flush=True)
