"""Makes every start of this virtual environment's Python measure coverage while COVERAGE_PROCESS_START is set.

That covers subprocesses, whatever way they start and end, on every version of coverage that 3.8 to 3.15 get: also those that
end by os._exit, as workers do, or become another program. Run once before the tests, with the environment's Python: writes a
.pth file and a module into its site-packages, and deletes what an earlier run under the same COVERAGE_FILE has left.
"""
import glob
import os
import sys
import sysconfig

LINE = "import os; 'COVERAGE_PROCESS_START' in os.environ and __import__('coverage_at_end')\n"
MODULE = """import os

import coverage

measuring = coverage.process_startup() or coverage.Coverage.current()  # from 7.10 on, its own .pth was first


def saving(end):
    def end_saved(*args):
        measuring.stop()
        measuring.save()
        end(*args)
    return end_saved


if measuring is not None:
    os._exit, os.execv = saving(os._exit), saving(os.execv)
"""


def main():
    if sys.prefix == sys.base_prefix:
        sys.exit("this Python is not in a virtual environment: nothing written")
    for name, text in (("icey_coverage.pth", LINE), ("coverage_at_end.py", MODULE)):
        with open(os.path.join(sysconfig.get_path("purelib"), name), "w", encoding="ascii") as file:
            file.write(text)
    data = os.environ.get("COVERAGE_FILE")
    if data:
        os.makedirs(os.path.dirname(data), exist_ok=True)
        for stale in glob.glob(glob.escape(data) + ".*"):
            os.remove(stale)


if __name__ == "__main__":
    main()
