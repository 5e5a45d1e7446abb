"""A thousand requests to one process of the chat function, half of them streams: neither memory nor descriptors add up.

Under AWS's runtime interface emulator, as test_emulator has it.
"""

import pathlib, unittest

from stack import Account, provider, stack, unframed
from test_emulator import Emulator
from toolchain import events

REQUESTS = 1000
# The first hundred fill what is kept: connections, buffers, the allocator's arenas.
MEASURED = (100, 500, REQUESTS)
# How much more after the last than after the first of these is no leak: 2 KiB a request lost would be, and a descriptor
# in three hundred.
MOST_MIB, MOST_DESCRIPTORS = 2, 2


def setUpModule():
    stack()


def child(process):
    """The process that one of the emulator's threads started."""
    threads = pathlib.Path(f"/proc/{process}/task").iterdir()
    [found] = [pid for thread in threads for pid in (thread / "children").read_text().split()]
    return pathlib.Path("/proc") / found


def resources(process):
    """The memory of a process in MiB, and how many descriptors it has open."""
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]) / 1024, len(list((process / "fd").iterdir()))


class Soak(unittest.TestCase):
    def test_a_thousand_requests_leave_memory_and_descriptors_as_they_were(self):
        provider().go_on.set()
        account, emulator = Account(), Emulator("chat-completions")
        self.addCleanup(emulator.server.stop)
        cases, seen = [events("chat-completions")[case] for case in ("answer", "stream")], {}
        for number in range(1, REQUESTS + 1):
            status, _, body = unframed(emulator.invoke(account.of(cases[number % 2])))
            self.assertEqual(status, 200, (number, body))
            if number in MEASURED:
                seen[number] = resources(child(emulator.server.process.pid))
                print(f"after {number} requests: %.1f MiB, %d descriptors" % seen[number])
        (memory, descriptors), (last_memory, last_descriptors) = seen[MEASURED[0]], seen[MEASURED[-1]]
        self.assertLessEqual(last_memory, memory + MOST_MIB, seen)
        self.assertLessEqual(last_descriptors, descriptors + MOST_DESCRIPTORS, seen)
        # 1000 times 0.00102 USD: each was charged, and once.
        self.assertEqual(account.balance(), "3.98")
