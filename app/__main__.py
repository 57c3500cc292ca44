"""Where `gptoss-chat` begins: so little that Ctrl-C meets no traceback, however early it comes."""

import gc
import sys


def main() -> int:
    """Run the command; returns its exit code."""
    try:
        gc.disable()  # nothing of what is imported is garbage; enabled again before the command runs
        from app.interrupt import Importing

        with Importing():
            from app.cli.main import main as run
        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
