"""One line for each check, and the sum of them. Must not know what is checked."""

import sys
import time
import traceback


class Wrong(Exception):
    """What a check found; its text is for the person who reads the line."""


def must(holds, otherwise):
    """Fails the check that is running unless `holds`."""
    if not holds:
        raise Wrong(otherwise)


def tell(line):
    """Progress, which is no verdict."""
    print(line, file=sys.stderr, flush=True)


class Report:
    """Runs checks, goes on after a failure, and keeps count."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, sentence, run, *arguments):
        """Runs one check. It may return a few words worth telling. Says whether it passed."""
        begun = time.monotonic()
        try:
            words = run(*arguments)
        except Wrong as wrong:
            self._fail(f"{sentence}: {wrong}")
            return False
        except Exception as error:  # A crash of one check must not hide what the others find.
            traceback.print_exc()
            self._fail(f"{sentence}: {type(error).__name__}: {error}")
            return False
        self.passed += 1
        took = time.monotonic() - begun
        print(f"ok     {sentence} ({f'{words}; ' if words else ''}{took:.1f} s)", flush=True)
        return True

    def _fail(self, line):
        self.failed += 1
        print(f"FAILED {line}", flush=True)

    def close(self):
        """The last line, and the exit code."""
        print(f"\n{self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.passed and not self.failed else 1
