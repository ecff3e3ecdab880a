// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"maps"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// maxLine is the length of a message a client shows (DESIGN rule 1).
const maxLine = 160

// failKey is whose failure is remembered: accounts of one host do not answer
// for each other, nor jobs for their user, nor one terminal's identity for that
// of another.
type failKey struct {
	host    providers.Host
	account string // its id
	env     string // digest of what selects an ambient identity; "" for others
}

func (c *Core) failKey(q asked, j *job, names []string, env callerEnv) failKey {
	k := failKey{host: q.host, account: accountID(q.account, j)}
	if q.account.Layer == providers.LayerAmbient {
		k.env = c.digest(names, env)
	}
	return k
}

// failure is an error of a host; an account's are remembered for list and
// status.
type failure struct {
	host    providers.Host
	account providers.Account
	err     error
	at      time.Time
}

// stands says that a get would fail the same way now. A client that lists first
// never asks for what is left out, so what may mend by itself is tried again.
func (f failure) stands(now time.Time) bool {
	switch providers.KindOf(f.err) {
	case providers.LoginRequired:
		return true // until somebody logs in, and that clears it
	case providers.Unavailable:
		return now.Sub(f.at) < time.Minute
	}
	return now.Sub(f.at) < 10*time.Minute
}

// maxFailures is how many are remembered at most: anybody who may ask may ask
// for any number of hosts.
const maxFailures = 4096

func (f failure) response() *api.GetResponse {
	return &api.GetResponse{Outcome: api.Failed, Kind: string(providers.KindOf(f.err)), Message: message(f.host, f.err)}
}

// fail answers a failed get: an error, or not found where the account, the
// policy or the link says that clients go on without a login.
func (c *Core) fail(s *snapshot, j *job, q asked, soft bool, err error) *api.GetResponse {
	f := failure{host: q.host, err: err, at: c.now()}
	if providers.KindOf(err) == providers.NoAccount {
		return &api.GetResponse{Outcome: api.NotFound, Message: message(q.host, err)}
	}
	r := f.response()
	if soft || goesOn(s, j, q, err) {
		c.count.softened.Add(1)
		c.o.Log.Warn("answered not found for a failure", "host", q.host.String(), "account", q.account.Name, "reason", r.Message)
		r.Outcome = api.NotFound
	}
	return r
}

// goesOn says whether account or policy let clients go on without a login. A job
// with a login that has ended does not: its pulls would fail later, of a limit
// or of rights, with another message.
func goesOn(s *snapshot, j *job, q asked, err error) bool {
	if j != nil && providers.KindOf(err) == providers.LoginRequired {
		return false
	}
	says := q.account.OnFailure
	if says == "" {
		says = s.cfg.Policy.OnFailure
	}
	return says == providers.OnFailureAnonymous
}

// noteFailure remembers what keeps an account from answering. What only this one
// request was refused for says nothing about the next: a native token, or more
// than its target or its job may have.
func (c *Core) noteFailure(q asked, about failKey, native bool, err error) {
	if native || providers.KindOf(err) == providers.Denied && len(q.grants) > 0 {
		return
	}
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failures) >= maxFailures {
		maps.DeleteFunc(c.failures, func(_ failKey, f failure) bool { // of callers that are gone, and of nobody
			return now.Sub(f.at) > identityIdle || providers.KindOf(f.err) == providers.NoAccount
		})
		for k := range c.failures { // looking through all of them is not for every get
			if len(c.failures) <= maxFailures/2 {
				break
			}
			delete(c.failures, k)
		}
	}
	c.failures[about] = failure{host: q.host, account: q.account, err: err, at: now}
}

func (c *Core) succeeded(about failKey) {
	c.mu.Lock()
	delete(c.failures, about)
	c.mu.Unlock()
}

func (c *Core) clearFailures() {
	c.mu.Lock()
	clear(c.failures)
	c.mu.Unlock()
}

// message is one line of at most 160 characters that starts with the host.
// Where it is too long the reason is cut, never the hint.
func message(h providers.Host, err error) string {
	host, reason, hint := h, "", ""
	if e, ok := errors.AsType[*providers.Error](err); ok {
		if host.IsZero() {
			host = e.Host
		}
		if hint = e.Hint; hint == "" && !host.IsZero() {
			hint = usualStep(e.Kind, host)
		}
		reason = string(e.Kind)
		if e.Err != nil {
			reason = e.Err.Error()
		}
	} else if err != nil {
		reason = err.Error()
	}
	prefix := ""
	if !host.IsZero() && !strings.HasPrefix(reason, host.String()+":") {
		prefix = host.String() + ": "
	}
	if hint != "" {
		hint = "; " + hint
	}
	reason = oneLine(reason)
	hint = oneLine(hint)
	if n := utf8.RuneCountInString(prefix + reason + hint); n > maxLine && prefix != "" {
		// The line says the host already, and these are long; yet a login
		// without any is another command.
		hint = strings.TrimSuffix(hint, " "+host.String())
		if strings.HasSuffix(hint, "regmint login") {
			hint += " HOST"
		}
	}
	if room := maxLine - utf8.RuneCountInString(prefix) - utf8.RuneCountInString(hint); utf8.RuneCountInString(reason) > room {
		reason = cut(reason, max(room, 40))
	}
	return cut(prefix+reason+hint, maxLine)
}

// usualStep is what helps where the failure itself names nothing.
func usualStep(k providers.Kind, h providers.Host) string {
	switch k {
	case providers.Unavailable:
		return "try again, or see: regmint status " + h.String()
	case providers.LoginRequired, providers.NoAccount:
		return "run: regmint login " + h.String()
	}
	return ""
}

func cut(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}

// oneLine shows control characters instead of sending them to a terminal; line
// ends become blanks.
func oneLine(s string) string {
	return api.CleanLine(lineEnds.Replace(s), math.MaxInt)
}

var lineEnds = strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ")
