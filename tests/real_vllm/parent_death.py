"""Makes child processes end with their parent, even when the parent is killed. Must not know what they are."""

import ctypes
import signal

# From linux/prctl.h.
PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def end_with_parent():
    """For `preexec_fn`: the child gets SIGTERM when its parent ends."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
