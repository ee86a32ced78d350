"""Results as short tables that a person reads."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from data.labels import label


def readable(command: str, result: Mapping[str, Any]) -> str:
    """The result of a command as text; ``--json`` prints the same result whole."""
    if command == "config":
        return yaml.safe_dump(dict(result), sort_keys=False, allow_unicode=True).rstrip()
    if "artifacts" in result:
        return _plan(result)
    if command in ("run", "evaluate"):
        return _summary(result)
    if command == "search":
        return _hits(result)
    if command == "discover":
        return _proposals(result)
    if command == "bench":
        return _bench(result)
    if command == "encoder" and "forms" in result["encoder"]:
        return _forms(result)
    return _figures(command, result)


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Columns as wide as their widest cell; numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    names = list(header)
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    numeric = [all(_is_number(row[i]) for row in cells) for i in range(len(names))]

    def line(row: list[str]) -> str:
        return "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(row, widths, numeric, strict=True)).rstrip()

    return "\n".join([line(names), line(["-" * width for width in widths]), *map(line, cells)])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.4f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").replace("-", "").isdecimal()


def _plan(result: Mapping[str, Any]) -> str:
    config = yaml.safe_dump(result["config"], sort_keys=False, allow_unicode=True)
    rows = [(stage, "done" if made["done"] else "missing", made["path"]) for stage, made in result["artifacts"].items()]
    return f"{config}\n{table(('stage', 'artifact', 'where'), rows)}"


def _summary(result: Mapping[str, Any]) -> str:
    counts = {
        "documents": result["ingest"].get("documents"),
        "links": result["ingest"].get("links"),
        "passages": result["embed"].get("passages"),
        "rejected rows": result["ingest"].get("rejects") or None,
    }
    parts = [
        f"{result['run']}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items() if count is not None)
    ]
    parts += [_figures_table(title, result[title]) for title in ("retrieval", "links") if result[title]]
    seconds = result["seconds"]
    parts.append(table(("stage", "seconds"), [*seconds.items(), ("all", float(sum(seconds.values())))]))
    if result["report"]:
        parts.append(f"report: {result['report']}")
    return "\n\n".join(parts)


def _figures_table(title: str, by_method: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a method, one column a metric: only plain numbers are shown."""
    methods = {name: figures for name, figures in by_method.items() if isinstance(figures, Mapping)}
    metrics = [m for m, v in next(iter(methods.values())).items() if isinstance(v, int | float)]
    rows = [[name, *(figures.get(metric, "") for metric in metrics)] for name, figures in methods.items()]
    return table((title, *metrics), rows)


def _hits(result: Mapping[str, Any]) -> str:
    if not result["hits"]:
        return "nothing found"
    blocks = []
    for number, hit in enumerate(result["hits"], start=1):
        text = " ".join(hit["text"].split())
        id_, name = hit["document_id"], label(hit["document_id"], hit["title"])
        named = name if name == id_ else f"{name}  [{id_}]"
        blocks.append(f"{number:>3}. {named}  {hit['score']:.4f}\n     {text[:200]}")
    return "\n".join(blocks)


def _proposals(result: Mapping[str, Any]) -> str:
    if not result["proposals"]:
        return "no links proposed"
    blocks = []
    for number, link in enumerate(result["proposals"], start=1):
        head = f"{number:>3}. {link['probability']:.3f}  {link['source_label']} -> {link['target_label']}"
        blocks.append(f"{head}  ({link['relation']})\n     {link['reason']}")
    return "\n".join(blocks)


def _bench(result: Mapping[str, Any]) -> str:
    rows = [
        (row["id"], row["value"], row["unit"], row.get("at_least", row.get("at_most", "")), row["what"])
        for row in result["rows"]
    ]
    missing = [f"not measured: {part}: {why}" for part, why in result["not_measured"].items()]
    return "\n".join([table(("row", "value", "unit", "bound", "what"), rows), *missing, *result["files"]])


def _forms(result: Mapping[str, Any]) -> str:
    """The gate's table, and what it picked."""
    checked = result["encoder"]
    columns = ("form", "documents_per_s", "speedup", "cosine_min", "cosine_mean", "ndcg_at_10", "ndcg_loss")
    rows = [
        [*("" if line[column] is None else line[column] for column in columns), _verdict(line)]
        for line in checked["forms"]
    ]
    decided = (
        f"{checked['questions']} questions" if checked["questions"] else "no questions: cosine and speed alone decide"
    )
    told = f"{checked['passages']:,} of {checked['of_passages']:,} passages, {decided}; picked: {checked['picked']}"
    return f"{table((*columns, 'verdict'), rows)}\n{told}\n{result['artifact']}"


def _verdict(line: Mapping[str, Any]) -> str:
    return f"{'accepted' if line['accepted'] else 'refused'}: {line['reason']}"


def _figures(command: str, result: Mapping[str, Any]) -> str:
    dims = result.get(command, {}).get("dims")  # of an encoder that was fine-tuned: one line a dimension
    if dims:
        dims = table(dims[0].keys(), (line.values() for line in dims)) + "\n\n"
    plain = {k: v for k, v in result.get(command, {}).items() if isinstance(v, int | float | str)}
    return f"{dims or ''}{table((command, ''), plain.items())}\n{result.get('artifact', '')}".rstrip()
