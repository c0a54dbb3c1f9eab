import signal

import pytest


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal: a shell lets its background jobs, and so a test run among them, ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
