"""`jaxdl train`: from options to a run folder, with what a person wants to see on the way."""

import contextlib
import dataclasses
import functools
import importlib
import shutil
import threading

import jax
import numpy as np

from jaxdl import devices, train, vega
from jaxdl.data import table
from jaxdl.run import chart, config, folder, problem, screen, tables

RUN_ONCE = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""For what runs once, in one program: outside of one every operation is a program of its own, and
to optimize it takes longer than to run it."""

ENDINGS = {
    "finished": "",
    "patience": "No better cost on the dev set for --patience epochs.",
    "diverged": "The cost became infinite or NaN: try a smaller --lr.",
    "time limit": "The time limit was reached; --resume goes on.",
    "interrupted": "Interrupted; --resume goes on.",
}


def command(options: config.Train) -> int:
    """Train as the options say; returns the exit status.

    0: finished, stopped by patience, or stopped by the time limit. 1: diverged. 130: interrupted,
    with a checkpoint saved.

    Raises:
        ValueError, OSError, checkpoint.CheckpointError: with a sentence for the terminal.
    """
    config.check(options)
    writer = _writer() if options.tensorboard else None
    mesh = _mesh(options)
    leader = jax.process_index() == 0
    out = folder.choose(options.out, tables.stem(options.data), options.resume)
    console = screen.console(quiet=not leader)
    said: list[str] = []
    dataset = tables.load(
        options.data,
        options.target,
        options.task,
        options.drop,
        options.keep_row_numbers,
        said.append,
    )
    task = problem.build(dataset, options)
    threading.Thread(target=_get_ready, daemon=True).start()  # while the program is compiled
    resuming = options.resume and (out / folder.CONFIG).exists()
    if leader:
        _open(out, options, dataset, task, resuming)
    devices.wait_for_all("folder")
    screen.opening(console, dataset, task, options, out, resuming, said)
    with _recorder(console, options, out, task, writer if leader else None) as recorder:
        ended = _train(options, task, out, mesh, recorder)
    results = _results(task, options, ended.result) if ended.result.history["cost"].size else {}
    if leader:
        _close(out, dataset, task, options, ended, results)
        _, epoch = _chosen(ended.result, options)
        screen.closing(console, task, ended, epoch, results, out, ENDINGS[ended.ended])
    return {"diverged": 1, "interrupted": 130}.get(ended.ended, 0)


def _mesh(options):
    """The devices that share every batch; this has to come before JAX is first used."""
    if options.devices is not None:
        devices.use_cpu_devices(options.devices)
    if options.distributed:
        devices.join_processes(
            options.coordinator_address, options.num_processes, options.process_id
        )
    many = options.distributed or (options.devices or 1) > 1
    return devices.row_of("batch") if many else None


def _train(options, task, out, mesh, watch):
    params, run_key = _beginning(task.model, options.seed)
    objective, plain = problem.objectives(task, options)
    return train.run(
        objective,
        params,
        config.OPTIMIZERS[options.optimizer](options.lr),
        task.parts["train"],
        epochs=options.epochs,
        batch_size=min(options.batch_size, len(task.parts["train"][1])) or None,
        key=run_key,
        dev=task.parts.get("dev"),
        dev_objective=plain,
        metrics=problem.scores(task),
        patience=options.patience,
        mesh=mesh,
        folder=out / folder.CHECKPOINTS,
        resume=options.resume,
        keep=options.keep,
        save_seconds=options.save_seconds,
        time_limit=options.time_limit,
        watch=watch,
    )


def _beginning(model, seed):
    """The initial parameters and the key of the run."""

    @RUN_ONCE
    def begin(seed):
        start_key, run_key = jax.random.split(jax.random.key(seed))
        return model.init(start_key), run_key

    return begin(np.uint32(seed))


def _open(out, options, dataset, task, resuming):
    """Makes the folder, or makes sure that it holds this very run."""
    if resuming:
        before, facts = config.read(out / folder.CONFIG)
        config.check_same(options, before)
        folder.check_split(task.indices, dataset, out / folder.SPLIT)
        if options.epochs != before.epochs:
            longer = dataclasses.replace(before, epochs=options.epochs)
            config.write(longer, facts, out / folder.CONFIG)
        return
    out.mkdir(parents=True, exist_ok=True)
    folder.write_split(task.indices, dataset, out / folder.SPLIT)
    (out / folder.METRICS).write_bytes(b"")
    facts = {
        "sizes": task.sizes,
        "kind": task.kind,
        "loss": task.loss,
        "features": dataset.feature_names,
        "classes": dataset.target_names,
    }
    if task.encoder is not None:
        facts["columns"] = table.to_json(task.encoder)
    config.write(options, facts, out / folder.CONFIG)


@contextlib.contextmanager
def _recorder(console, options, out, task, writer):
    """What `train.run` calls after every segment: metrics into files, and the progress bar."""
    path = out / folder.METRICS
    leader = jax.process_index() == 0
    with screen.bar(console, options.epochs, task.score) as show, _board(writer, out) as board:

        def watch(progress):
            if not leader:
                return
            for sentence in progress.refused:
                console.print(f"[yellow]{screen.escape(sentence)}[/] The one before is used.")
            first = progress.start
            if progress.seconds == 0:  # the start: nothing new, or what a checkpoint brought
                folder.cut_rows(path, progress.epoch)
                first = len(folder.rows(path))
            folder.append_rows(path, progress.history, first, progress.epoch)
            board(progress.history, progress.start, progress.epoch)
            show(progress)

        yield watch


def _writer():
    """TensorBoard's own writer of event files; asked for before anything else is done."""
    try:
        from tensorboard.summary import Writer  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError("--tensorboard needs the package: pip install tensorboard.") from None
    return Writer


@contextlib.contextmanager
def _board(writer, out):
    """A function that writes rows for TensorBoard, if there is a writer.

    A resumed run writes all of its rows anew: event files cannot be cut back to a checkpoint.
    """
    if writer is None:
        yield lambda history, start, end: None
        return
    shutil.rmtree(out / "tensorboard", ignore_errors=True)
    events = writer(str(out / "tensorboard"))

    def write(history, start, end):
        for row in range(start, end):
            for name, column in history.items():
                events.add_scalar(name, float(column[row]), row + 1)
        events.flush()

    try:
        yield write
    finally:
        events.close()


def _results(task, options, result):
    """Cost and score of the chosen parameters on every part."""
    params, _ = _chosen(result, options)
    _, plain = problem.objectives(task, options)
    measure = {"cost": plain, **problem.scores(task)}

    @RUN_ONCE
    def everywhere(params, parts):
        return {p: {k: f(params, *pair) for k, f in measure.items()} for p, pair in parts.items()}

    return jax.tree.map(float, everywhere(jax.tree.map(devices.to_host, params), task.parts))


def _chosen(result, options):
    """(parameters, epoch): the last ones; with --patience, or after divergence, the best on dev."""
    best, last = result.best, int(result.epochs) - 1
    early = options.patience is not None or int(result.diverged_at) >= 0
    if early and best is not None and int(best.epoch) >= 0:
        return best.params, int(best.epoch)
    return result.params, last


def _close(out, dataset, task, options, ended, results):
    if not results:
        return
    params, _ = _chosen(ended.result, options)
    arrays = folder.named(jax.tree.map(devices.to_host, params))
    model = folder.Model(arrays, task.scaler, task.target_scaler)
    folder.write_model(model, out / folder.MODEL)
    network = " → ".join(map(str, task.sizes))
    subtitle = f"{network}, {options.optimizer}, learning rate {options.lr:g}, seed {options.seed}"
    chart.write(
        out / folder.CHART, folder.rows(out / folder.METRICS), f"Training on {dataset.name}",
        subtitle, task.score,
    )  # fmt: skip


def _get_ready():
    """Loads what is needed at the end of a run; what goes wrong here is said there."""
    with contextlib.suppress(Exception):
        importlib.import_module("orbax.checkpoint")
        vega.bundle()
