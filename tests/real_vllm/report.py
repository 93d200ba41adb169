"""Prints one line for each check, and the totals. Must not know what is checked."""

import sys
import time
import traceback


class CheckFailed(Exception):
    """A check failed; the text says why."""


def must(holds, otherwise):
    """Fails the check that is running unless `holds`."""
    if not holds:
        raise CheckFailed(otherwise)


def progress(line):
    """Prints a line of progress."""
    print(line, file=sys.stderr, flush=True)


class Report:
    """Runs checks, continues after a failure, and counts the results."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, sentence, run, *arguments):
        """Runs one check, which may return a note for its line. Returns whether it passed."""
        begun = time.monotonic()
        try:
            note = run(*arguments)
        except CheckFailed as failed:
            self._fail(f"{sentence}: {failed}")
            return False
        except Exception as error:  # A crash of one check must not hide the results of the others.
            traceback.print_exc()
            self._fail(f"{sentence}: {type(error).__name__}: {error}")
            return False
        self.passed += 1
        took = time.monotonic() - begun
        print(f"ok     {sentence} ({f'{note}; ' if note else ''}{took:.1f} s)", flush=True)
        return True

    def _fail(self, line):
        self.failed += 1
        print(f"FAILED {line}", flush=True)

    def close(self):
        """Prints the last line and returns the exit code."""
        print(f"\n{self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.passed and not self.failed else 1
