"""``python -m benchmarks``: run a benchmark, show its table, keep its figures."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.figures import machine, write_results
from benchmarks.latency import Round, Workload, medians, run_latency, started
from benchmarks.targets import TARGETS, Target

app = typer.Typer(help=__doc__, no_args_is_help=True, pretty_exceptions_enable=False)
console = Console(width=140)

ROWS = (
    ("edit-to-visible p50, ms", "latency_ms.p50", "{:.1f}"),
    ("edit-to-visible p95, ms", "latency_ms.p95", "{:.1f}"),
    ("edit-to-visible p99, ms", "latency_ms.p99", "{:.1f}"),
    ("edit-to-visible max, ms", "latency_ms.max", "{:.1f}"),
    ("clients' own loop lag p99, ms", "client_lag_ms.p99", "{:.1f}"),
    ("server CPU per key, ms", "server_cpu_ms_per_key", "{:.2f}"),
    ("server CPU per delivered key, µs", "server_cpu_us_per_delivery", "{:.0f}"),
    ("its helpers' CPU, s", "helpers_cpu", "{:.2f}"),
    ("server RSS, MiB", "server_rss", "{:.0f}"),
    ("its helpers' RSS, MiB", "helpers_rss", "{:.0f}"),
    ("received bytes per key, all clients", "bytes_received_per_key", "{:.0f}"),
    ("join of all, s", "join", "{:.2f}"),
    ("settling after the last key, s", "settle", "{:.2f}"),
)
HARM_ROWS = (
    ("words lost", "lost"),
    ("words or cells doubled", "doubled"),
    ("words missing on disk", "missing_on_disk"),
    ("reloads forced", "reloads_forced"),
    ("connections lost", "reconnects"),
    ("unreadable frames", "faults"),
)


@app.callback()
def benchmarks() -> None:
    """Questions about speed, cost and loss, asked of several servers in alternating rounds."""


@app.command()
def latency(
    clients: Annotated[int, typer.Option(help="People per notebook, the tutor included.")] = 7,
    rooms: Annotated[int, typer.Option(help="Notebooks (groups) at once.")] = 1,
    seconds: Annotated[float, typer.Option(help="How long people write in each round.")] = 20.0,
    pace: Annotated[float, typer.Option(help="Seconds between keys of one person.")] = 0.1,
    rounds: Annotated[int, typer.Option(help="Alternating rounds of every target.")] = 2,
    targets: Annotated[str, typer.Option(help=f"Comma-separated, of {', '.join(TARGETS)}.")] = "floor,ours",
    seed: int = 1,
    load_processes: Annotated[int, typer.Option(help="Processes that the clients are spread over.")] = 1,
    typing_only: Annotated[bool, typer.Option(help="No cells added, moved, deleted or run.")] = False,
) -> None:
    """How soon the others see a key, at what cost, and whether anything is lost or doubled."""
    chosen = _chosen(targets)
    workload = Workload(
        clients, rooms, seconds=seconds, pace=pace, seed=seed, load_processes=load_processes,
        typing_only=typing_only,
    )  # fmt: skip
    versions = {target.name: target.versions() for target in chosen}
    about = {"machine": machine(), "versions": versions, "started": started()}
    with console.status("starting") as status:
        results = run_latency(chosen, workload, rounds, status.update)
    console.print(latency_table(results, workload))
    for line in sorted({f"{one.target}: {copy}" for one in results for copy in one.wrong_copies}):
        console.print(line, style="red", markup=False)
    kept = write_results(
        "latency", about | {"workload": asdict(workload), "rounds": [asdict(one) for one in results]}
    )
    console.print(f"kept in {kept}")


def _chosen(names: str) -> list[Target]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    unknown = [name for name in wanted if name not in TARGETS]
    if unknown or not wanted:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    return [TARGETS[name] for name in wanted]


def latency_table(results: list[Round], workload: Workload) -> Table:
    """Medians over rounds, each with its ratio to the first target's."""
    figures = medians(results)
    first, *others = figures
    table = Table(
        title=f"{workload.rooms} × {workload.clients} clients, a key each {workload.pace:g} s, "
        f"for {workload.seconds:g} s; ratios to {first}",
        title_justify="left",
    )
    table.add_column("")
    for name in figures:
        table.add_column(name, justify="right")
    for title, key, form in ROWS:
        base = figures[first][key]
        cells = [form.format(base)]
        cells += [_with_ratio(figures[name][key], base, form) for name in others]
        table.add_row(title, *cells)
    for title, key in HARM_ROWS:
        table.add_row(title, *(str(int(figures[name][key])) for name in figures))
    return table


def _with_ratio(value: float, base: float, form: str) -> str:
    return form.format(value) + (f"  ({value / base:.2f}×)" if base else "")


if __name__ == "__main__":
    app()
