"""The report as one HTML page that asks no network: tables, pictures within it, commands."""

from __future__ import annotations

import base64
import html

from mmre_jax.reproduce.report import Report
from mmre_jax.training.protocol import versions

_STYLE = """body{font:15px/1.5 system-ui,sans-serif;color:#1b1f24;margin:2rem auto;max-width:96rem;padding:0 1rem}
h1{font-size:1.45rem}h2{font-size:1.1rem;margin-top:2rem}.warning{border-left:4px solid #c0392b;background:#fdf0ee;padding:.6rem 1rem}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid #dde1e6;padding:.3rem .6rem;text-align:right;white-space:nowrap}th{background:#f4f6f8;white-space:normal}
th:first-child,td:first-child,td:last-child,th:last-child{text-align:left}td:last-child{white-space:normal;min-width:26rem}
img{max-width:100%;height:auto;display:block;margin:1rem 0}pre{background:#f4f6f8;padding:.7rem;overflow-x:auto;font-size:12.5px}"""
# Nothing is fetched and nothing is run.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(report: Report) -> str:
    """The page. All text is escaped."""
    parts = [f"<h1>{_text(report.head)}</h1>"]
    parts += [f'<p class="warning">{_text(report.warning)}</p>'] if report.warning else []
    parts += [f"<p>{_text(text)}</p>" for text in report.about()]
    if not report.entry.is_drawing:
        heads, rows = report.table()
        parts.append('<div class="wide"><table>')
        parts.append(f"<thead><tr>{''.join(f'<th>{_text(head)}</th>' for head in heads)}</tr></thead><tbody>")
        parts += [f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows]
        parts.append("</tbody></table></div>")
        for path in report.pictures:
            inside = base64.b64encode(path.read_bytes()).decode("ascii")
            parts.append(f'<img alt="{_text(path.stem)}" src="data:image/png;base64,{inside}">')
        parts += ["<h2>Commands</h2>", f"<p>All of it:</p><pre>{_text(report.call)}</pre>"]
        for row, lines in report.commands.items():
            parts += [f"<p>{_text(row)}</p><pre>{_text(chr(10).join(lines))}</pre>"] if lines else []
        parts.append(f"<p>Versions: {_text(', '.join(f'{name} {version}' for name, version in versions().items()))}.</p>")
    return document(report.head, "\n".join(parts))


def index(title: str, rows: list[tuple[str, str, str]]) -> str:
    """A page of links.

    Args:
      rows: (name of an entry, what it shows, its state).
    """
    cells = "".join(
        f'<tr><td><a href="{_text(name)}/report.html">{_text(name)}</a></td><td>{_text(shows)}</td><td>{_text(state)}</td></tr>'
        for name, shows, state in rows
    )
    head = "<thead><tr><th>name</th><th>shows</th><th>state</th></tr></thead>"
    return document(title, f'<h1>{_text(title)}</h1>\n<div class="wide"><table>{head}<tbody>{cells}</tbody></table></div>')


def document(title: str, body: str) -> str:
    """A whole page around a body that is HTML already."""
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    head = f'<meta charset="utf-8">{policy}<meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{_text(title)}</title><style>{_STYLE}</style>"
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _text(text: str) -> str:
    return html.escape(text, quote=True)
