"""A self-contained SVG: every row's ratio to its peer, with must and aim."""

from html import escape

from .report import amount, limit

WIDTH, LEFT, RIGHT = 960, 330, 150
TOP, STEP, BAR = 96, 62, 20
COLOURS = {"aim": "#1a7f4b", "must": "#2f6fbf", "missed": "#c0392b"}
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #222 }
  .title { font-size: 19px; font-weight: 600 }
  .small { font-size: 11px; fill: #667 }
  .value { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .page { fill: #16181d } text { fill: #e6e6e6 } .small { fill: #9aa } .lane { fill: #23262d }
  }
"""


def text(x, y, words, kind="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">'
            f"{escape(words)}</text>")


def mark(x, y, colour, label, label_y, anchor):
    """A limit: a line across the lane and its name beside it."""
    return (f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - 4}" y2="{y + BAR + 4}" '
            f'stroke="{colour}" stroke-width="2"/>' + text(x, label_y, label, "small", anchor))


def lane(row, y):
    """One row: ours as a share of the peer's, on a scale that ends past every mark."""
    ratio = row["ratio"]
    most = max(ratio["max"], row["must"], row["aim"], 1.0) * 1.12
    span = WIDTH - LEFT - RIGHT

    def place(value):
        return LEFT + value / most * span

    colour = COLOURS[row["verdict"]]
    ours, peer = (row["sides"][side][row["measure"]]["median"] for side in ("ours", "peer"))
    middle, below = y + BAR / 2, y + BAR + 14
    return "\n".join([
        text(16, y + 9, row["title"]),
        text(16, y + 25, f"against {row['peer']}, {row['unit']}, "
             f"{'less' if row['lower_is_better'] else 'more'} is better", "small"),
        f'<rect class="lane" x="{LEFT}" y="{y}" width="{span}" height="{BAR}" fill="#eef0f3"/>',
        f'<rect x="{LEFT}" y="{y}" width="{place(ratio["median"]) - LEFT:.1f}" height="{BAR}" '
        f'fill="{colour}"/>',
        f'<line x1="{place(ratio["min"]):.1f}" x2="{place(ratio["max"]):.1f}" y1="{middle}" '
        f'y2="{middle}" stroke="#111" stroke-width="1.5"/>',
        mark(place(1.0), y, "#888", "peer", y - 7, "middle"),
        mark(place(row["must"]), y, "#d98200", f"must {limit(row['must'])}", below,
             "start" if row["lower_is_better"] else "end"),
        mark(place(row["aim"]), y, "#1a7f4b", f"aim {limit(row['aim'])}", below,
             "end" if row["lower_is_better"] else "start"),
        text(WIDTH - RIGHT + 12, y + 9, f"{ratio['median']:.2f}×", "value"),
        text(WIDTH - RIGHT + 12, y + 25, f"{amount(ours)} / {amount(peer)}", "small"),
    ])


def chart(document):
    """The whole picture; rows that were not compared are left out."""
    rows = [row for row in document["rows"] if row["ratio"]]
    machine = document["machine"]
    height = TOP + STEP * len(rows) + 30
    body = [lane(row, TOP + STEP * at) for at, row in enumerate(rows)]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img">',
        f"<title>Downpour against its peers</title><style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" fill="#fff"/>',
        text(16, 32, "Downpour against its peers", "title"),
        text(16, 52, f"{machine['cpu']}, {machine['cores']} cores, kernel "
             f"{machine['kernel']}, {machine['date']}, commit {machine['commit']}"
             f"{' (changed)' if machine['dirty'] else ''}", "small"),
        text(16, 68, "Bars: ours divided by the peer's, medians of the same run; thin lines: "
             "the spread of the pairs. Green holds its aim, blue its must, red misses.",
             "small"),
        *body, "</svg>", ""])
