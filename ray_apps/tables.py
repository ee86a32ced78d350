"""Results as short tables that a person reads."""

import io
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.labels import label

WIDE = 1000  # columns of what is no terminal: nothing is wrapped in a file
SHOWN_CHARS = 200  # of the text of a hit
INDENT = " " * 5  # of what is below a numbered line


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows under a header as text for standard output: as wide as its terminal, numbers to the right.

    Colour and weight are used on a terminal only, and not where ``NO_COLOR`` is set. Numbers of a column have the same
    number of decimals.
    """
    columns = [_column(values) for values in zip(*rows, strict=True)]
    cells = list(zip(*columns, strict=True))
    drawn = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, name in enumerate(header):
        numeric = bool(cells) and all(_is_number(row[number]) for row in cells)
        drawn.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*map(Text, row))
    on_terminal = sys.stdout.isatty()
    console = Console(file=io.StringIO(), force_terminal=on_terminal, width=None if on_terminal else WIDE)
    with console.capture() as captured:
        console.print(drawn)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _column(values: Sequence[object]) -> list[str]:
    """The cells of a column; where all are numbers, the largest decides how many decimals they have."""
    numbers = [value for value in values if isinstance(value, float)]
    alike = all(isinstance(value, int | float) or value == "" for value in values)
    return [_cell(value, max(map(abs, numbers), default=0.0) if alike else None) for value in values]


def _cell(value: object, largest: float | None = None) -> str:
    if isinstance(value, float):
        size = abs(value) if largest is None else largest
        return f"{value:,.{1 if size >= 100 else 2 if size >= 10 else 4}f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _is_number(cell: str) -> bool:
    return not cell or cell.replace(",", "").replace(".", "").replace("-", "").isdecimal()


def plan_text(result: Mapping[str, Any]) -> str:
    """A dry run: the configuration, and each stage with where its artifact is."""
    config = yaml.safe_dump(result["config"], sort_keys=False, allow_unicode=True)
    rows = [(stage, "done" if made["done"] else "missing", made["path"]) for stage, made in result["artifacts"].items()]
    return f"{config}\n{table(('stage', 'artifact', 'where'), rows)}"


def summary_text(result: Mapping[str, Any]) -> str:
    """A run's summary: counts, figures of search and links, seconds of each stage, the report."""
    counts = {
        "documents": result["ingest"].get("documents"),
        "links": result["ingest"].get("links"),
        "passages": result["embed"].get("passages"),
        "rejected rows": result["ingest"].get("rejects") or None,
    }
    parts = [
        f"{result['run']}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if count is not None)
    ]
    shown = {"finetune": None, "retrieval": result.get("retrieval_default"), "links": None}
    parts += [figures_table(title, result[title], default) for title, default in shown.items() if result.get(title)]
    if result.get("retrieval_comparisons"):
        parts.append(_comparisons(result["retrieval_comparisons"]))
    seconds = result["seconds"]
    parts.append(table(("stage", "seconds"), [*seconds.items(), ("all", float(sum(seconds.values())))]))
    if result["report"]:
        parts.append(f"report: {result['report']}")
    return "\n\n".join(parts)


def figures_table(title: str, by_method: Mapping[str, Mapping[str, Any]], default: str | None = None) -> str:
    """One line a method, one column a metric: only plain numbers are shown; below it, the method used by default."""
    methods = {name: figures for name, figures in by_method.items() if isinstance(figures, Mapping)}
    known = [m for figures in methods.values() for m, v in figures.items() if isinstance(v, int | float)]
    metrics = list(dict.fromkeys(known))
    rows = [[name, *(figures.get(metric, "") for metric in metrics)] for name, figures in methods.items()]
    drawn = table((title, *metrics), rows)
    return f"{drawn}\n{default} is the default" if default else drawn


def _comparisons(pairs: Iterable[Mapping[str, Any]]) -> str:
    """Every pair of pipelines on one metric: how far they differ, and whether that is chance."""
    keys = ("difference", "difference_low", "difference_high", "p_value", "p_holm")
    rows = [(f"{pair['metric']}, {pair['a']} - {pair['b']}", *(pair[key] for key in keys)) for pair in pairs]
    return table(("pair", "difference", "95% from", "to", "p", "p, Holm"), rows)


def hits(result: Mapping[str, Any]) -> str:
    """Search results, numbered, with the beginning of each text."""
    if not result["hits"]:
        return "nothing found"
    blocks = []
    for number, hit in enumerate(result["hits"], start=1):
        text = " ".join(hit["text"].split())
        id_, name = hit["document_id"], label(hit["document_id"], hit["title"])
        named = name if name == id_ else f"{name}  [{id_}]"
        text = text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS].rsplit(" ", 1)[0] + " …"
        blocks.append(f"{number:>3}. {named}  {hit['score']:.4f}\n{_indented(text)}")
        if hit.get("explanation"):
            blocks.append(_indented(_why(hit["explanation"])))
    if result.get("trust"):
        blocks.append(_trusted(result["trust"]))
    return "\n".join(blocks)


def _trusted(trust: Mapping[str, Any]) -> str:
    """What the lists weigh and by which evidence, in a line."""
    parts = [
        f"{name} {weight:.2f} (MRR {trust['mrr'][name]:.2f}, 95% within "
        f"{trust['interval'][name][0]:.2f}–{trust['interval'][name][1]:.2f})"
        for name, weight in trust["weights"].items()
    ]
    return f"weights: {', '.join(parts)}, by {trust['questions']} questions made of the corpus"


def _why(explanation: Mapping[str, Any]) -> str:
    """Why a document was found, in a line."""
    parts = [
        f"{place['list']} rank {place['rank']} ({place['score']:.4f}) gives {place['contribution']:.4f}"
        for place in explanation["lists"]
    ]
    lone = [place["list"] for place in explanation["lists"]]
    parts += [
        f"{place['step']} rank {place['rank']} ({place['score']:.4f})"
        for place in explanation["steps"]
        if [place["step"]] != lone
    ]
    for one in explanation.get("features", []):
        value = "not known" if one["value"] is None else f"{one['value']:.4g}"
        parts.append(f"{one['name']} {value} moves it by {one['effect']:+.3f}")
    if explanation["matched_words"]:
        told = (f"{one['word']} {one['weight']:.2f}" for one in explanation["matched_words"])
        parts.append(f"words: {', '.join(told)}")
    return "; ".join(parts)


def capabilities(result: Mapping[str, Any]) -> str:
    """Capabilities, numbered as they are to be shown, with the probability of each; then by what they were ranked."""
    blocks = []
    for one in result["results"]:
        first = f"  first with {one['propensity']:.3f}" if result["explore"] != "none" else ""
        blocks.append(f"{one['rank']:>3}. {one['id']}  {_probability(one['score'])}{first}")
        text = " ".join(one["text"].split())
        text = text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS].rsplit(" ", 1)[0] + " …"
        blocks += [_indented(text)] if text else []
        blocks += [_indented(_parts(one))] if one["parts"] else []
    blocks += [] if blocks else ["no capability is left to show"]
    counted = f", features {result['features_version']}" if result["features_version"] else ""
    blocks.append(f"by {result['model']} {result['model_version']}{counted}")
    if result["degraded"]:
        blocks.append(f"without: {', '.join(result['degraded'])}")
    if result["unknown"]:
        blocks.append(f"unknown, left out: {', '.join(result['unknown'])}")
    return "\n".join(blocks)


def _parts(one: Mapping[str, Any]) -> str:
    """What a score is made of, in a line."""
    parts = one["parts"]
    told = [f"raw {one['raw_score']:.4f} = text {parts['text']:.4f} {parts['past']:+.4f} past"]
    told += [f"{f['name']} {f['value']:.4g} moves it by {f['effect']:+.4f}" for f in parts["features"] if f["effect"]]
    told += [f"boost {parts['boost']:g} from {_probability(parts['probability'])}"] if parts["boost"] != 1 else []
    told += [f"rank {parts['ranked']} before exploration"] if parts["ranked"] != one["rank"] else []
    return "; ".join(told)


def proposals(result: Mapping[str, Any]) -> str:
    """Proposed links, numbered, with probability and reason."""
    if not result["proposals"]:
        return "no links proposed"
    blocks = []
    for number, link in enumerate(result["proposals"], start=1):
        head = f"{number:>3}. {_probability(link['probability'])}  {link['source_label']} -> {link['target_label']}"
        blocks.append(f"{head}  ({link['relation']})\n{_indented(link['reason'])}")
    return "\n".join(blocks)


def _probability(value: float) -> str:
    """Three decimals, or the two figures that a small one begins with."""
    return f"{value:.3f}" if value >= 0.0995 or value == 0 else f"{value:.2g}"


def _indented(text: str) -> str:
    """A text below a numbered line; wrapped at words on a terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else max(WIDE, len(text) + len(INDENT))
    return textwrap.fill(text, width, initial_indent=INDENT, subsequent_indent=INDENT, break_on_hyphens=False)


def bench_rows(result: Mapping[str, Any]) -> str:
    """Rows of a benchmark beside their bounds."""
    rows = [
        (row["id"], row["value"], row["unit"], row.get("at_least", row.get("at_most", "")), row["what"])
        for row in result["rows"]
    ]
    missing = [f"not measured: {part}: {why}" for part, why in result["not_measured"].items()]
    return "\n".join([table(("row", "value", "unit", "bound", "what"), rows), *missing, *result["files"]])


FORM_COLUMNS = {  # of the gate's table
    "form": "form",
    "documents_per_s": "documents/s",
    "speedup": "times fp32",
    "cosine_min": "smallest cosine",
    "ndcg_at_10": "nDCG@10",
    "ndcg_loss": "loss",
}


def forms(result: Mapping[str, Any]) -> str:
    """The gate's table, the reason of each verdict, and what the gate picked; no column without a value."""
    checked = result["encoder"]
    lines = checked["forms"]
    shown = {key: name for key, name in FORM_COLUMNS.items() if any(line[key] is not None for line in lines)}
    rows = [["" if line[key] is None else line[key] for key in shown] + [_verdict(line)] for line in lines]
    reasons = [f"{line['form']}: {_verdict(line)}, {line['reason']}" for line in lines]
    decided = (
        f"{checked['questions']} questions" if checked["questions"] else "no questions, so cosine and speed decide"
    )
    sample = f"{checked['passages']:,} of {checked['of_passages']:,} passages, {decided}; picked: {checked['picked']}"
    return "\n".join(
        [table((*shown.values(), "verdict"), rows), "", *reasons, "", sample, result["artifact"]],
    )


def _verdict(line: Mapping[str, Any]) -> str:
    return "accepted" if line["accepted"] else "refused"


def figures(result: Mapping[str, Any]) -> str:
    """Every part of a result as a table of its plain values, then where its artifact is.

    A result without parts is one table, named after its run.
    """
    parts = {part: values for part, values in result.items() if isinstance(values, Mapping)}
    if not parts:
        parts = {result.get("run", ""): {key: one for key, one in result.items() if key not in ("run", "artifact")}}
    blocks = []
    for part, values in parts.items():
        if values.get("dims") and not isinstance(values["dims"], int):  # of a fine-tuned encoder: one line a dimension
            blocks.append(table(values["dims"][0].keys(), (line.values() for line in values["dims"])))
        inner = {
            f"{key} {name}": v for key, value in values.items() if isinstance(value, dict) for name, v in value.items()
        }
        both = {**values, **inner}.items()
        plain = {key: value for key, value in both if isinstance(value, int | float | str) and value != ""}
        blocks.append(table((part, ""), plain.items()))
    return "\n\n".join([*blocks, *([result["artifact"]] if "artifact" in result else [])])


def config_text(result: Mapping[str, Any]) -> str:
    """A configuration as YAML."""
    return yaml.safe_dump(dict(result), sort_keys=False, allow_unicode=True).rstrip()
