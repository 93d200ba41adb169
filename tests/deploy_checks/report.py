"""One line for each check, and the closing line that other programs count."""


class Report:
    """Counts checks."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def check(self, name, problems):
        """A check with what is wrong, nothing if it passed."""
        problems = list(problems)
        if problems:
            self.failed += 1
            print(f"FAILED  {name}", *(f"          {problem}" for problem in problems[:20]), sep="\n", flush=True)
        else:
            self.passed += 1
            print(f"ok      {name}", flush=True)
        return not problems

    def skip(self, name, why):
        """A check that can't run here, and what would cure that."""
        self.skipped += 1
        print(f"SKIPPED {name}: {why}", flush=True)

    def close(self):
        """Prints the closing line; the exit code."""
        print(f"\n{self.passed} passed, {self.failed} failed, {self.skipped} skipped")
        return 1 if self.failed else 0
