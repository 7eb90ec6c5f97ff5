package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
)

// plot draws a group: for each row the ratio, or how far the cost is below what is asked, on a logarithmic scale, with marks where
// must and stretch are. Nil for a group without anything to draw.
func plot(group string, rows []row) []byte {
	type bar struct {
		label, value  string
		x             float64
		must, stretch float64
		missed        bool
	}
	var bars []bar
	for _, r := range rows {
		if r.group != group || r.err != nil {
			continue
		}
		b := bar{label: r.bench + ": " + r.unit, missed: r.verdict() == verdictMissed}
		x, against := r.ratio()
		switch {
		case r.goal.absolute && r.ours.cost > 0:
			b.x, b.must, b.stretch = r.goal.must/r.ours.cost, 1, r.goal.must/r.goal.stretch
			b.value = fmt.Sprintf("%.4g (must %.4g)", r.ours.cost, r.goal.must)
		case !r.goal.absolute && x > 0:
			b.x, b.must, b.stretch = x, r.goal.must, r.goal.stretch
			b.value = fmt.Sprintf("%.2fx %s", x, against)
		default:
			continue
		}
		bars = append(bars, b)
	}
	if len(bars) == 0 {
		return nil
	}
	least, most := 0.5, 2.0
	for _, b := range bars {
		least, most = min(least, b.x), max(most, b.x, b.stretch)
	}
	const left, width, right, step = 430, 420, 170, 24
	at := func(x float64) float64 {
		return left + width*(math.Log(x)-math.Log(least))/(math.Log(most)-math.Log(least))
	}
	var out bytes.Buffer
	height := 60 + step*len(bars)
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", left+width+right, height)
	fmt.Fprintf(&out, `<rect width="100%%" height="100%%" fill="white"/><text x="8" y="20" font-size="15" font-weight="bold">%s</text>`+"\n", escape(group))
	out.WriteString(`<text x="8" y="38" fill="#555">times cheaper than the best opponent, or than what is asked; logarithmic. Marks: | must, ¦ stretch</text>` + "\n")
	fmt.Fprintf(&out, `<line x1="%.1f" y1="46" x2="%.1f" y2="%d" stroke="#999"/>`+"\n", at(1), at(1), height-10)
	for i, b := range bars {
		y := 50 + step*i
		color := "#2a7f4f"
		if b.missed {
			color = "#c0392b"
		}
		from, to := min(at(1), at(b.x)), max(at(1), at(b.x))
		fmt.Fprintf(&out, `<text x="%d" y="%d" text-anchor="end">%s</text>`, left-30, y+14, escape(b.label))
		fmt.Fprintf(&out, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`, from, y+3, to-from, step-8, color)
		for _, mark := range []struct {
			x    float64
			dash string
		}{{b.must, ""}, {b.stretch, ` stroke-dasharray="3 2"`}} {
			if mark.x > 0 {
				fmt.Fprintf(&out, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="black"%s/>`, at(mark.x), y, at(mark.x), y+step-2, mark.dash)
			}
		}
		fmt.Fprintf(&out, `<text x="%.1f" y="%d">%s</text>`+"\n", max(to, at(max(b.stretch, least)))+6, y+14, escape(b.value))
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func escape(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}
