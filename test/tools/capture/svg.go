// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"html"
	"strings"
	"unicode/utf8"
)

const (
	cell = 8.4 // width of a character at 14 px
	line = 20
	pad  = 16
)

// colours are the ANSI colours on a dark ground.
var colours = map[string]string{
	"30": "#6e7681", "31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "34": "#79c0ff", "35": "#d2a8ff", "36": "#76e3ea", "37": "#e6edf3",
	"90": "#8b949e", "91": "#ffa198", "92": "#7ee787", "93": "#e3b341", "94": "#79c0ff", "95": "#d2a8ff", "96": "#76e3ea", "97": "#ffffff",
}

// style is what SGR sequences have set.
type style struct {
	colour    string
	bold, dim bool
}

func (s style) attr() string {
	out := ""
	if s.colour != "" {
		out += ` fill="` + s.colour + `"`
	}
	if s.bold {
		out += ` font-weight="bold"`
	}
	if s.dim {
		out += ` opacity=".6"`
	}
	return out
}

func (s *style) apply(code string) {
	for c := range strings.SplitSeq(code, ";") {
		switch c {
		case "", "0":
			*s = style{}
		case "1":
			s.bold = true
		case "2":
			s.dim = true
		case "22":
			s.bold, s.dim = false, false
		case "39":
			s.colour = ""
		default:
			if v, ok := colours[c]; ok {
				s.colour = v
			}
		}
	}
}

// svg draws a terminal with a command and its output.
func svg(command, screen string) string {
	lines := strings.Split(strings.TrimRight("$ "+command+"\n"+screen, "\n"), "\n")
	width := 0
	var body strings.Builder
	for i, l := range lines {
		text, n := spans(l)
		width = max(width, n)
		fmt.Fprintf(&body, "<text x=\"%d\" y=\"%d\" xml:space=\"preserve\">%s</text>\n", pad, pad+28+(i+1)*line-6, text)
	}
	w, h := int(float64(width)*cell)+2*pad, len(lines)*line+2*pad+28
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">
<rect width="100%%" height="100%%" rx="8" fill="#0d1117"/>
<circle cx="20" cy="20" r="6" fill="#ff5f56"/><circle cx="40" cy="20" r="6" fill="#ffbd2e"/><circle cx="60" cy="20" r="6" fill="#27c93f"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" fill="#e6edf3">
%s</g>
</svg>
`, w, h, w, h, body.String())
}

// spans turns one line with SGR sequences into tspans; n is its width.
func spans(l string) (out string, n int) {
	var b strings.Builder
	var s style
	put := func(text string) {
		if text != "" {
			fmt.Fprintf(&b, "<tspan%s>%s</tspan>", s.attr(), html.EscapeString(text))
			n += utf8.RuneCountInString(text)
		}
	}
	for {
		before, after, ok := strings.Cut(l, "\x1b[")
		put(before)
		if !ok {
			return b.String(), n
		}
		end := strings.IndexFunc(after, func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			return b.String(), n
		}
		if after[end] == 'm' {
			s.apply(after[:end])
		}
		l = after[end+1:]
	}
}
