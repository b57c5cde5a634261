"""Run the benchmarks and write benchmarks/README.md and its plot.

    python -m benchmarks [GROUP ...] [--model FILE]

The groups are input, step, batch, folder, authors, process and precision (without one: all, about 40 minutes on
two cores). What is not run keeps the figures of its last run, from benchmarks/results.json; precision runs where --model
names a trained network.
"""

import argparse
import datetime
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks import colorizing, training
from benchmarks.measure import machine

HERE = Path(__file__).parent
PAPER_PICTURES = 206_048 * 40  # of its training, repetitions counted
GROUPS = {
    "input": training.input_rows,
    "step": training.step_rows,
    "folder": colorizing.folder_rows,
    "authors": colorizing.authors_row,
    "process": colorizing.process_rows,
}


def main():
    plt.switch_backend("agg")
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}, batch, precision"
    )
    parser.add_argument("--model", type=Path, help="trained network, for precision")
    args = parser.parse_args()
    known = [*GROUPS, "batch", *(["precision"] if args.model else [])]
    if wrong := set(args.groups) - set(known):
        parser.error(f"no such group, or --model is missing: {', '.join(sorted(wrong))}")
    file = HERE / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    for group in args.groups or known:
        with tempfile.TemporaryDirectory() as folder:
            print(f"--- {group}", flush=True)
            if group == "batch":
                rows = training.batch_table()
            elif group == "precision":
                rows = [asdict(colorizing.precision_row(args.model))]
            else:
                rows = [asdict(row) for row in GROUPS[group](Path(folder))]
        for row in rows:
            print(row, flush=True)
        results[group] = {"rows": rows, "machine": machine(), "date": str(datetime.date.today())}
        file.write_text(json.dumps(results, indent=1))
    write_readme(results)


def write_readme(results):
    """The text between the markers of README.md is made anew, the rest is left as it is."""
    lines = ["| what | measured | bar | figures |", "| --- | --- | --- | --- |"]
    for group in (*GROUPS, "precision"):
        for row in results.get(group, {"rows": []})["rows"]:
            bar = row["bar"] + ", **missed**" * is_missed(row)
            lines.append(f"| {row['what']} | **{row['value']:.3g}** | {bar} | {row['detail']} |")
    if "batch" in results:
        rows = results["batch"]["rows"]
        lines += [
            "",
            f"| training | batch | pictures/s | peak memory, GB | the paper's {PAPER_PICTURES:,} pictures |",
        ]
        lines += ["| --- | --- | --- | --- | --- |"]
        for row in rows:
            lines.append(
                f"| {mode(row)} | {row['batch']} | {row['rate']:.2f} | {row['memory'] / 1000:.1f} "
                f"| {PAPER_PICTURES / row['rate'] / 3600:,.1f} hours |"
            )
        lines += ["", "![pictures/s and memory by batch](batch.png)"]
        plot(rows)
    lines += ["", "Measured on:", ""]
    lines += [f"- {group}: {r['machine']}, {r['date']}" for group, r in results.items()]
    path, start, end = HERE / "README.md", "<!-- figures -->", "<!-- end of figures -->"
    before, _, rest = path.read_text().partition(start)
    path.write_text("\n".join([before + start, *lines, end + rest.partition(end)[2]]))


def is_missed(row):
    """Whether a row is on the wrong side of its bar, such as ">= 0.7"."""
    sign, _, limit = row["bar"].partition(" ")
    return bool(limit) and (
        row["value"] < float(limit) if sign == ">=" else row["value"] > float(limit)
    )


def mode(row):
    return row["precision"] + " with XLA" * row["xla"]


def plot(rows):
    figure, axes = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for name in dict.fromkeys(map(mode, rows)):
        of_it = [row for row in rows if mode(row) == name]
        batches = [row["batch"] for row in of_it]
        axes[0].plot(batches, [row["rate"] for row in of_it], "o-", label=name)
        axes[1].plot(batches, [row["memory"] / 1000 for row in of_it], "o-", label=name)
    for axis, title in zip(axes, ("training, pictures/s", "peak memory, GB")):
        axis.set(
            title=title, xlabel="batch", xscale="log", xticks=batches, xticklabels=batches, ylim=0
        )
        axis.minorticks_off()
    axes[0].legend()
    figure.savefig(HERE / "batch.png", dpi=110)


if __name__ == "__main__":
    main()
