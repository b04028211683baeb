# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""The picture: latency by number of devices, and parts of a real plug."""

WIDTH, HEIGHT = 760, 470
LEFT, TOP, PLOT_W, PLOT_H = 70, 46, 640, 200
BAR_TOP, BAR_H = 338, 26
BAR_LEFT = 110
HIGHEST = 2.5               # of the axis, over the highest p50
STYLE = """
    text { font: 13px sans-serif; fill: #1f2328 }
    .title { font-weight: bold }
    .axis { stroke: #6e7781; fill: none }
    .grid { stroke: #d0d7de; fill: none }
    .a { stroke: #0969da; fill: #0969da }
    .b { stroke: #bc4c00; fill: #bc4c00 }
    .c { stroke: #6e7781; fill: #6e7781 }
    .d { stroke: #1a7f37; fill: #1a7f37 }
    .line { fill: none; stroke-width: 2 }
    .p95 { stroke-width: 1; stroke-dasharray: 3 3 }
    .s0 { fill: #8c959f } .s1 { fill: #0969da }
    .s2 { fill: #d4a72c } .s3 { fill: #bf8700 } .s4 { fill: #bc4c00 }
    @media (prefers-color-scheme: dark) {
        text { fill: #e6edf3 }
        .grid { stroke: #30363d } .axis { stroke: #8d96a0 }
        .a { stroke: #58a6ff; fill: #58a6ff }
        .b { stroke: #f0883e; fill: #f0883e }
        .c { stroke: #9198a1; fill: #9198a1 }
        .d { stroke: #3fb950; fill: #3fb950 }
        .s1 { fill: #58a6ff } .s4 { fill: #f0883e }
    }"""


def text(x, y, words, anchor="start", kind=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s"%s>%s</text>' % (
        x, y, anchor, kind and ' class="%s"' % kind, words)


def line(x1, y1, x2, y2, kind):
    return '<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" class="%s"/>' % (
        x1, y1, x2, y2, kind)


def ceiling(value):
    """The next round number, and a step for the grid."""
    for step in (20, 50, 100, 200, 250, 500, 1000, 2000, 5000, 10000, 50000):
        if value / step <= 6:
            return step * -(-value // step), step
    return value, value


class Chart:
    """One column for each number of devices; the axis starts at zero."""

    def __init__(self, columns, top):
        self.columns = columns
        self.top, self.step = ceiling(top)

    def x(self, others):
        index = self.columns.index(others)
        return LEFT + PLOT_W * (index + 0.5) / len(self.columns)

    def y(self, value):
        return TOP + PLOT_H * (1 - value / self.top)

    def frame(self):
        out = []
        value = 0
        while value <= self.top:
            kind = "axis" if value == 0 else "grid"
            out.append(line(LEFT, self.y(value), LEFT + PLOT_W,
                            self.y(value), kind))
            out.append(text(LEFT - 8, self.y(value) + 4, "%d" % value, "end"))
            value += self.step
        for others in self.columns:
            out.append(text(self.x(others), TOP + PLOT_H + 18,
                            "{:,}".format(others), "middle"))
        out.append(text(LEFT + PLOT_W / 2, TOP + PLOT_H + 36,
                        "other devices", "middle"))
        return out

    def series(self, points, kind):
        out = []
        for which, style in ((1, ""), (2, " p95")):
            path = " ".join("%.1f,%.1f" % (self.x(p[0]), self.y(p[which]))
                            for p in points if p[which] <= self.top)
            out.append('<polyline points="%s" class="%s line%s" '
                       'style="fill: none"/>' % (path, kind, style))
        out += ['<circle cx="%.1f" cy="%.1f" r="3.5" class="%s"/>'
                % (self.x(p[0]), self.y(p[1]), kind) for p in points]
        return out


def legend(entries):
    out = []
    x = LEFT
    for words, kind in entries:
        out.append(line(x, 30, x + 22, 30, kind + " line"))
        out.append(text(x + 28, 34, words))
        x += 44 + 7 * len(words)
    return out


def bars(stages, autoscan):
    total = sum(value for _, value in stages)
    scale = (WIDTH - BAR_LEFT - 90) / max(total, autoscan)
    out = [text(14, BAR_TOP - 16, "The median plug until QEMU has the device, "
                "ms, on an emulated host", kind="title")]
    x = BAR_LEFT
    for number, (_, value) in enumerate(stages):
        out.append('<rect x="%.1f" y="%d" width="%.1f" height="%d" '
                   'class="s%d"/>' % (x, BAR_TOP, value * scale, BAR_H,
                                      number))
        x += value * scale
    out += [text(x + 8, BAR_TOP + 18, "%.0f" % total),
            text(BAR_LEFT - 8, BAR_TOP + 18, "usbmgrd", "end")]
    y = BAR_TOP + BAR_H + 10
    out += ['<rect x="%d" y="%d" width="%.1f" height="%d" class="s4"/>'
            % (BAR_LEFT, y, autoscan * scale, BAR_H),
            text(BAR_LEFT + autoscan * scale + 8, y + 18, "%.0f" % autoscan),
            text(BAR_LEFT - 8, y + 18, "autoscan", "end")]
    x, y = BAR_LEFT, y + BAR_H + 16
    for number, (name, value) in enumerate(stages):
        words = "%s %.0f" % (name, value)
        out.append('<rect x="%.1f" y="%d" width="12" height="12" class="s%d"/>'
                   % (x, y, number))
        out.append(text(x + 17, y + 11, words))
        x += 36 + 6.6 * len(words)
    return out


def draw(by_rules, bare, stages, autoscan):
    """The SVG: {rules: [(others, p50, p95)]}, the same of the lower bound and
    of four bare processes, [(name, ms)], ms.
    """
    few, many = sorted(by_rules)
    drawn = [point for points in by_rules.values() for point in points]
    # A busy moment makes a p95 beside which all else would be flat: such
    # are left out.
    chart = Chart([point[0] for point in bare[0]],
                  min(max(point[2] for point in drawn),
                      HIGHEST * max(point[1] for point in drawn)))
    out = [text(14, 16, "Plug to device_add, microseconds; dashed: p95",
                kind="title")]
    out += legend([("usbmgrd, {:,} rules, p50".format(few), "a"),
                   ("{:,} rules".format(many), "b"),
                   ("four bare processes", "d"), ("one", "c")])
    out += chart.frame()
    out += chart.series(bare[0], "c")
    out += chart.series(bare[1], "d")
    out += chart.series(by_rules[few], "a")
    out += chart.series(by_rules[many], "b")
    out += bars(stages, autoscan)
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" '
            'role="img" aria-label="Benchmarks of usbmgrd">\n<style>%s\n'
            '</style>\n%s\n</svg>\n' % (WIDTH, HEIGHT, STYLE,
                                        "\n".join(out)))
