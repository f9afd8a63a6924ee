"""Mixed load, with swaps every second, calls given up and clients that vanish:
no answer but the right one, no error but the asked-for ones, no leak.

A few seconds here; `tests/run.sh soak` runs it for ten minutes on a server
built with AddressSanitizer, whose reports are the server's log.
"""

import os
import re

import pytest

from support.soak import Soak

SECONDS = float(os.environ.get("OCTET_SOAK_SECONDS", "8"))
MAX_GROWTH_BYTES = 96 << 20
SANITIZED = "san" in os.environ.get("OCTET_BUILD_DIR", "")
REPORTS = re.compile(r"Sanitizer|runtime error:")


@pytest.mark.timeout(SECONDS + 600)
def test_mixed_load_gives_right_answers_and_loses_nothing(start_server):
    server = start_server(None, "--allow-shared-memory")
    soak = Soak(server, SECONDS)
    before = server.resident_bytes()
    soak.run()
    growth = server.resident_bytes() - before
    print(f"{SECONDS:.0f} s: {soak.done}; grew by {growth >> 20} MiB")
    assert not soak.errors
    assert set(soak.done) == {job.__name__ for job in soak.jobs()}
    assert server.stop() == 0
    log = server.log_text()
    assert not REPORTS.search(log), log
    if not SANITIZED:  # what is freed stays in quarantine there
        assert growth < MAX_GROWTH_BYTES
