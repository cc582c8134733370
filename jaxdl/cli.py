"""`jaxdl train | recipe | predict | gradcheck`: dispatches on the first word."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Annotated

COMMANDS = {
    "train": "train a network on a built-in data set or a table of your own",
    "recipe": "find a good model for a table of your own: fit, diagnose, remedy, repeat",
    "predict": "use a trained network: one prediction a row",
    "gradcheck": "check a hand-derived gradient, and say what is wrong with it",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the first word names; returns the exit status.

    Errors that a user can mend are one sentence on standard error and status 2.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    word = arguments[0] if arguments else "--help"
    if word in ("-h", "--help"):
        print(_help())
        return 0
    if word == "--version":
        print(importlib.import_module("jaxdl").__version__)
        return 0
    if word not in COMMANDS:
        from jaxdl import errors

        return _complain(errors.unknown_name("command", word, COMMANDS))
    try:
        return _COMMANDS[word](arguments[1:])
    except (ValueError, TypeError, OSError, ImportError, _checkpoint_error()) as error:
        if os.environ.get("JAXDL_TRACEBACK"):
            raise
        return _complain(error)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr, flush=True)
        os._exit(130)  # without waiting for a computation that is still running


def entry() -> None:
    """The console script: `main`, with compiled programs kept from one run to the next."""
    if sys.argv[1:2] in (["train"], ["recipe"], ["predict"]):
        importlib.import_module("jaxdl.devices").keep_compiled_programs()
    sys.exit(main())


def _train(arguments):
    from jaxdl.run import config, training

    before = config.to_resume(arguments)
    return training.command(_parse(config.Train, "train", arguments, before))


def _recipe(arguments):
    from jaxdl.run import recipe

    if arguments and not arguments[0].startswith("-"):  # jaxdl recipe data.csv --target y
        arguments = ["--data", *arguments]
    return recipe.command(_parse(recipe.Recipe, "recipe", arguments))


def _predict(arguments):
    from jaxdl.run import predicting

    if len(arguments) == 2 and not any(word.startswith("-") for word in arguments):
        return predicting.command(predicting.Predict(*arguments))
    import tyro

    for name in ("run", "data"):
        named = Annotated[str, tyro.conf.arg(metavar=name.upper())]
        predicting.Predict.__annotations__[name] = tyro.conf.Positional[named]
    return predicting.command(_parse(predicting.Predict, "predict", arguments))


def _gradcheck(arguments):
    return importlib.import_module("jaxdl.gradcheck.command").command(arguments)


_COMMANDS = {"train": _train, "recipe": _recipe, "predict": _predict, "gradcheck": _gradcheck}


def _parse(kind, word, arguments, before=None):
    import tyro

    default = tyro.MISSING_NONPROP if before is None else before
    return tyro.cli(
        kind, args=arguments, prog=f"jaxdl {word}", description=kind.__doc__, default=default
    )


def _checkpoint_error():
    from jaxdl.checkpoint import CheckpointError

    return CheckpointError


def _complain(error):
    print(f"jaxdl: {_unwritable(error) or error}", file=sys.stderr)
    return 2


def _unwritable(error):
    """A sentence for what keeps files from being written; "" for any other error."""
    from jaxdl import errors

    if not isinstance(error, OSError) or error.errno not in errors.UNWRITABLE:
        return ""
    reason = errors.UNWRITABLE[error.errno]
    where = f" to {error.filename}" if error.filename else ""
    return (
        f"Nothing can be written{where}, {reason}. Checkpoints that are there stay: free some "
        "space and --resume, or start with another --out."
    )


def _help():
    lines = [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        ["usage: jaxdl COMMAND ...", "", *lines, "", "jaxdl COMMAND --help says more."]
    )


if __name__ == "__main__":
    entry()
