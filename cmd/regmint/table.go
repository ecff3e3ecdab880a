// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// paint is an SGR colour; "" is none.
type paint string

const (
	plain  paint = ""
	bold   paint = "1"
	faint  paint = "2"
	red    paint = "31"
	green  paint = "32"
	yellow paint = "33"
)

// cell is one field of a table. Its text is made printable when it is written.
type cell struct {
	text  string
	paint paint
}

func text(s string) cell { return cell{text: s} }

// table is a header and rows of equal length.
type table struct {
	header []string
	rows   [][]cell
}

func (t *table) add(row ...cell) { t.rows = append(t.rows, row) }

// render lays the columns out, two blanks apart.
func (t *table) render(colour bool) string {
	rows := make([][]cell, 0, len(t.rows)+1)
	head := make([]cell, len(t.header))
	for i, h := range t.header {
		head[i] = cell{h, faint}
	}
	rows = append(rows, head)
	width := make([]int, len(t.header))
	for _, r := range t.rows {
		clean := make([]cell, len(r))
		for i, c := range r {
			clean[i] = cell{printable(c.text), c.paint}
		}
		rows = append(rows, clean)
	}
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, r := range rows {
		var line strings.Builder
		for i, c := range r {
			if i > 0 {
				line.WriteString("  ")
			}
			line.WriteString(c.paint.on(c.text, colour))
			if i < len(r)-1 {
				line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(c.text)))
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}

func (p paint) on(s string, colour bool) string {
	if !colour || p == plain || s == "" {
		return s
	}
	return "\x1b[" + string(p) + "m" + s + "\x1b[0m"
}

// barWidth is the length of a life bar.
const barWidth = 10

// bar shows which part of a life is left.
func bar(left, life time.Duration) string {
	if life <= 0 {
		return ""
	}
	n := int((left*barWidth + life/2) / life)
	n = min(max(n, 0), barWidth)
	return strings.Repeat("█", n) + strings.Repeat("░", barWidth-n)
}

// span is a duration in its two largest units: "2 h 10 min".
func span(d time.Duration) string {
	if d < 0 {
		d = -d
	}
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	if d < time.Second {
		if d < time.Millisecond {
			return "0 ms"
		}
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	if d >= 10*time.Minute {
		units = units[:3] // seconds say nothing there
	}
	var parts []string
	for _, u := range units {
		if n := d / u.size; n > 0 {
			parts = append(parts, strconv.FormatInt(int64(n), 10)+" "+u.name)
			d -= n * u.size
		}
		if len(parts) == 2 || len(parts) == 1 && d < u.size/60 {
			break
		}
	}
	return strings.Join(parts, " ")
}
