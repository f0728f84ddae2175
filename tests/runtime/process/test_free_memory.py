"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from thoth_models.process.free_memory import return_free_memory

KEEPS_AND_RETURNS = """
import ctypes, re
from thoth_models.process.free_memory import return_free_memory

def memory():
    return int(re.search(r"RssAnon:\\s*([0-9]+) kB", open("/proc/self/status").read())[1]) / 1024

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
blocks = [libc.malloc(32 * 1024) for _ in range(1_500)]
for block in blocks:
    ctypes.memset(block, 1, 32 * 1024)
# The last one keeps the end of the heap.
for block in blocks[:-1]:
    libc.free(block)
kept = memory()
return_free_memory()
print(kept - memory())
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="needs glibc")
def test_glibc_returns_what_it_kept() -> None:
    done = subprocess.run([sys.executable, "-c", KEEPS_AND_RETURNS], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 40


def test_other_libraries_keep_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _: object())
    return_free_memory()
