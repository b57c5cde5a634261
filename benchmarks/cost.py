"""Time and cost of large trainings and of large archives, worked out from measured rates and stated assumptions.

    python -m benchmarks.cost [--utilisation 0.3] [--price 3]     print the tables

With its defaults the text stands in benchmarks/README.md.
"""

import argparse
import json
import re
from dataclasses import dataclass, fields
from pathlib import Path

MACS = 10.48e9  # multiplications of the network for one picture of 256 x 256, forwards; training is three times that
GRADIENT = 4 * 9_844_743  # bytes that every step adds up over the devices, in float32
EPOCHS, SHARE = 40, 0.1  # of the paper: passes, and the pictures that are validated on, for which the network runs forwards
RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Site:
    """What was assumed, not measured: no GPU was at hand. Rates are per second."""

    peak: float = 989e12  # FLOP of an NVIDIA H100 SXM in dense bfloat16, by its data sheet (1,979 with sparsity, halved)
    utilisation: float = 0.3  # of that peak; 0.3 to 0.4 is usual for convolutions with 64 to 512 filters
    price: float = 3.0  # USD for a GPU and an hour, its share of the host included
    core_price: float = 0.05  # USD for a core and an hour, of hosts without GPUs
    cores: int = 16  # for each GPU
    batch: int = 64  # pictures on each GPU in a step
    host: int = 8  # GPUs in a host
    disk: float = 2e9  # bytes that a host reads or writes
    network: float = 10e9  # bytes between hosts: 100 Gbit/s, of which four fifths arrive
    link: float = 300e9  # bytes between the GPUs of a host


@dataclass(frozen=True)
class Measured:
    """Of one core of the machine in results.json."""

    folder: float  # pictures/s that are decoded from 256 x 256 JPEG, cropped and mirrored
    shards: float  # pictures/s that are read from prepared shards, whole
    small: float  # core-seconds for a 256 x 256 picture in test.py, the network left out
    network: float  # core-seconds of the network
    png: float  # core-seconds for a picture of 12 megapixels in test.py, the network left out, to PNG
    jpg: float  # the same to JPEG


def measured(results):
    """Read the rates out of results.json, where they stand in words."""

    def rates(group, *words):
        (row,) = (r for r in results[group]["rows"] if all(word in r["what"] for word in words))
        return [float(number.replace(",", "")) for number in re.findall(r"[\d,.]*\d", row["detail"])][:2]

    cores = int(re.match(r"\d+", results["folder"]["machine"])[0])
    ours, alone = rates("folder", "256 x 256")
    network = cores / alone
    return Measured(
        folder=rates("input", "against decoding", "crops")[0], shards=rates("shards", "whole")[0], network=network,
        small=cores / ours - network, png=cores / rates("folder", "to PNG", "all cores")[0] - network,
        jpg=cores / rates("folder", "to JPG", "all cores")[0] - network,
    )  # fmt: skip


def allreduce(site, gpus):
    """Seconds to add up the gradients of a step by rings: within each host, then between the hosts."""
    within, hosts = min(gpus, site.host), -(-gpus // site.host)
    return 2 * GRADIENT * ((within - 1) / within / site.link + (hosts - 1) / hosts / site.network)


def training(site, rates, pictures, gpus, picture_bytes, decoded):
    """A training of EPOCHS passes.

    Args:
        pictures: that are trained on.
        picture_bytes: of a file, or of a prepared picture.
        decoded: pictures/s that a core makes of them.

    Returns:
        (hours, USD, stages): of a step, the seconds of "GPU", "decode", "disk" and "all-reduce". The first three run
        side by side; that the last runs beside the GPU, as frameworks try, is not counted on.
    """
    hosts = -(-gpus // site.host)
    stages = {
        "GPU": site.batch * 6 * MACS / (site.peak * site.utilisation),
        "decode": site.batch / (site.cores * decoded),
        "disk": site.batch * gpus * picture_bytes / (site.disk * hosts),
        "all-reduce": allreduce(site, gpus),
    }
    step = max(stages["GPU"], stages["decode"], stages["disk"]) + stages["all-reduce"]
    hours = EPOCHS * pictures * (1 + SHARE / 3) / (site.batch * gpus) * step / 3600
    return hours, hours * gpus * site.price, stages


def colorizing(site, rates, pictures, gpus, core_seconds, written):
    """Colorizing by `test.py --shard`.

    Args:
        gpus: 0: on 64 cores without any, which then also run the network.
        core_seconds: of a picture, the network left out.
        written: bytes of a result.

    Returns:
        (hours, USD, stages): seconds for all pictures on "GPU", "cores" and "disk", which run side by side.
    """
    cores, hosts = gpus * site.cores or 64, max(1, -(-gpus // site.host))
    stages = {
        "cores": pictures * (core_seconds + (0 if gpus else rates.network)) / cores,
        "disk": pictures * written / (site.disk * hosts),
    }
    if gpus:
        stages["GPU"] = pictures * 2 * MACS / (site.peak * site.utilisation) / gpus
    hours = max(stages.values()) / 3600
    return hours, hours * (gpus * site.price or cores * site.core_price), stages


def told(hours):
    return f"{hours * 60:.0f} min" if hours < 2 else f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def text(results, site=None):
    """The tables, as Markdown."""
    site, rates = site or Site(), measured(results)
    train = site.peak * site.utilisation / (6 * MACS)
    lines = [
        f"Assumed: {site.utilisation:.0%} of {site.peak / 1e12:,.0f} TFLOP/s (NVIDIA H100 SXM, dense bfloat16, by its data "
        f"sheet), so **{train:,.0f} pictures/s in training and {3 * train:,.0f} forwards for each GPU (an estimate, from "
        f"{6 * MACS / 1e9:.1f} and {2 * MACS / 1e9:.1f} GFLOP a picture)**; {site.price:.2f} USD a GPU and hour; "
        f"{site.cores} cores a GPU, {site.host} GPUs a host, {site.disk / 1e9:.0f} GB/s of disk and "
        f"{site.network / 1e9:.0f} GB/s of network a host, {site.link / 1e9:.0f} GB/s between its GPUs; {site.batch} "
        f"pictures a GPU and step. Measured, for each core: {rates.folder:,.0f} pictures/s decoded, cropped and mirrored; "
        f"{rates.shards:,.0f} read from prepared shards; {rates.small * 1000:.0f} ms for a 256 x 256 picture in `test.py` "
        f"beside the network's {rates.network * 1000:.0f}; {rates.png:.2f} s for one of 12 megapixels to PNG, "
        f"{rates.jpg:.2f} s to JPEG.",
        "",
        f"| {EPOCHS} epochs of | GPUs | time | USD | GPU, ms a step | decode | disk | all-reduce | longest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    kinds = ("256 x 256 JPEG, 13 kB", 13e3, rates.folder), ("prepared shards, 197 kB", 3 * 256**2, rates.shards)
    for pictures in (200_000, 1_800_000, 8_000_000):
        for gpus in (1, 8, 64):
            for kind, size, decoded in kinds:
                hours, cost, stages = training(site, rates, pictures, gpus, size, decoded)
                shown = " | ".join(f"{1000 * stages[name]:.1f}" for name in ("GPU", "decode", "disk", "all-reduce"))
                longest = max(stages, key=stages.get)
                lines.append(f"| {pictures:,}, {kind} | {gpus} | {told(hours)} | {cost:,.0f} | {shown} | {longest} |")
    lines += [
        "",
        "| 10,000,000 pictures to colorize | on | time | USD | GPU | cores | disk | longest |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, seconds, size in (
        ("256 x 256 to PNG, 0.12 MB", rates.small, 0.12e6),
        ("12 megapixels to PNG, 18 MB", rates.png, 18e6),
        ("12 megapixels to JPEG, 6 MB", rates.jpg, 6e6),
    ):
        for gpus in (0, 1, 8, 64):
            hours, cost, stages = colorizing(site, rates, 10_000_000, gpus, seconds, size)
            where = f"{gpus} GPU" if gpus else f"64 cores alone, at {site.core_price:.2f} USD"
            shown = " | ".join(told(stages[name] / 3600) if name in stages else "" for name in ("GPU", "cores", "disk"))
            lines.append(f"| {kind} | {where} | {told(hours)} | {cost:,.0f} | {shown} | {max(stages, key=stages.get)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    for field in fields(Site):
        parser.add_argument("--" + field.name.replace("_", "-"), type=field.type, default=field.default)
    print(text(json.loads(RESULTS.read_text()), Site(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
