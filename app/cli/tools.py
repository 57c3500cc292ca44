"""`gptoss-chat tools python`: makes the Python that runs the model's code, with the packages that its code expects."""

import argparse


def register(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the command line."""
    parser = commands.add_parser(
        "tools",
        help="prepare a tool of the model's: python",
        description="Make a Python with the packages that the model's code expects (some 500 MB: ipython, numpy, "
        "pandas, matplotlib, scipy, sympy, pillow), or bring them up to date. Without it the code runs in the Python "
        "of gptoss-chat.",
    )
    parser.add_argument("tool", choices=["python"], help="the tool to prepare")
    parser.set_defaults(run=lambda arguments: prepare())


def prepare() -> int:
    """Make the Python, and say where it is; returns 0. Raises ManagedPythonError."""
    from app.tools.managed_python import make

    print(f"The model's code now runs in {make()}.", flush=True)
    return 0
