// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// statePaints colour what calls for action.
var statePaints = map[string]paint{
	"ok": green, "idle": faint, "login_required": yellow,
	"denied": red, "misconfigured": red, "unavailable": yellow, "no_account": faint,
}

// statusView lays out a status for a person.
type statusView struct {
	st     api.Status
	host   string // "" is all
	now    time.Time
	colour bool
	bars   bool
}

// render is the whole page.
func (v statusView) render() string {
	var b strings.Builder
	if t := v.accounts(); len(t.rows) > 0 {
		b.WriteString(t.render(v.colour))
	} else {
		b.WriteString("no accounts; log in with: regmint login HOST\n")
	}
	if t := v.jobs(); len(t.rows) > 0 {
		b.WriteString("\n" + t.render(v.colour))
	}
	b.WriteString("\n")
	v.footer(&b)
	return b.String()
}

// accounts has one row for each credential in memory and one for each account
// without any.
func (v statusView) accounts() *table {
	t := &table{header: []string{"HOST", "ACCOUNT", "WHO", "STATE", "LIFE LEFT", "NEXT REFRESH"}}
	shown := map[int]bool{}
	for _, a := range v.st.Accounts {
		rows := 0
		for i, tok := range v.st.Tokens {
			if shown[i] || tok.Account != a.Name || !slices.ContainsFunc(a.Hosts, func(h string) bool { return covers(h, tok.Host) }) {
				continue
			}
			shown[i] = true
			v.token(t, tok, accountName(a), a.State)
			rows++
		}
		if rows == 0 {
			hosts := strings.Join(a.Hosts, ", ")
			t.add(text(hosts), text(accountName(a)), text(dash(a.Username)), state(a.State), text("-"), text("-"))
		}
	}
	for i, tok := range v.st.Tokens {
		if !shown[i] {
			v.token(t, tok, tok.Account, "ok")
		}
	}
	return t
}

// covers reports whether an entry of an account's hosts speaks about host.
func covers(entry, host string) bool {
	p, err := providers.ParsePattern(entry)
	if err != nil {
		return entry == host
	}
	h, err := providers.ParseHost(host)
	return err == nil && p.MatchHost(h)
}

// accountName marks the account that is chosen where several own a host.
func accountName(a api.AccountStatus) string {
	if a.Default {
		return a.Name + " (default)"
	}
	return a.Name
}

func (v statusView) token(t *table, tok api.TokenStatus, account, s string) {
	host := tok.Host
	if tok.Grants != "" {
		host += " (" + tok.Grants + ")"
	}
	who := dash(tok.Username)
	if tok.As != "" {
		who = tok.As
	}
	if tok.Job != "" {
		who += " in job " + shortID(tok.Job)
	}
	if tok.Wider {
		who += " (wider)"
	}
	next := "-"
	if tok.ExpiresAt != nil {
		next = "when asked"
	}
	if tok.RefreshAt != nil && tok.RefreshAt.After(v.now) {
		next = "in " + span(tok.RefreshAt.Sub(v.now))
	}
	if tok.LastError != "" {
		next += " (the last one failed)"
	}
	t.add(text(host), text(account), text(who), state(s), v.life(tok), text(next))
}

// life is the time left, with a bar where there is a terminal.
func (v statusView) life(tok api.TokenStatus) cell {
	if tok.ExpiresAt == nil {
		return text("no known expiry")
	}
	left, life := tok.ExpiresAt.Sub(v.now), tok.ExpiresAt.Sub(tok.IssuedAt)
	if left <= 0 {
		return cell{"expired", red}
	}
	c := text(span(left))
	if v.bars {
		c.text = bar(left, life) + " " + c.text
	}
	switch {
	case left*5 < life:
		c.paint = yellow
	default:
		c.paint = green
	}
	return c
}

func state(s string) cell { return cell{strings.ReplaceAll(s, "_", " "), statePaints[s]} }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// shortID is how a job is named to people.
func shortID(id string) string { return id[:min(len(id), 4)] }

func (v statusView) jobs() *table {
	t := &table{header: []string{"JOB", "KIND", "LABEL", "PID", "OPEN FOR", "GETS", "TARGETS"}}
	if v.host != "" {
		return t
	}
	for _, j := range v.st.Jobs {
		pid := "-"
		if j.PID != 0 {
			pid = fmt.Sprint(j.PID)
		}
		targets := strings.Join(j.Targets, " ")
		if j.Only {
			targets += " (only)"
		}
		t.add(text(shortID(j.ID)), text(j.Kind), text(dash(j.Label)), text(pid),
			text(span(v.now.Sub(j.Opened))), text(fmt.Sprint(j.Gets)), text(dash(targets)))
	}
	return t
}

// footer says what is wrong, where saved secrets are, and who answers.
func (v statusView) footer(b *strings.Builder) {
	line := func(p paint, format string, args ...any) {
		b.WriteString(p.on(printable(fmt.Sprintf(format, args...)), v.colour) + "\n")
	}
	for _, a := range v.st.Accounts {
		// Public images are pulled without an identity every day: it is worth a
		// line where it is asked about.
		if a.Message != "" && (a.State != string(providers.NoAccount) || v.host != "") {
			line(yellow, "%s", a.Message)
		}
	}
	for _, t := range v.st.Tokens {
		if t.LastError != "" && !slices.ContainsFunc(v.st.Accounts, func(a api.AccountStatus) bool { return a.Message == t.LastError }) {
			line(yellow, "%s", t.LastError)
		}
	}
	for _, l := range v.chores() {
		line(l.paint, "%s", l.text)
	}
	for _, w := range v.st.Warnings {
		line(yellow, "warning: %s", w)
	}
	locked := ""
	if v.st.Locked {
		locked = " (run: regmint unlock)"
	}
	line(plain, "store: %s%s", v.st.Store, locked)
	if v.st.PID != 0 {
		line(plain, "agent: %s, pid %d, up %s, %s", v.st.Version, v.st.PID, span(v.now.Sub(v.st.Started)), v.st.Socket)
	}
}
