// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// checked is one line of the answer.
type checked struct {
	Target    string               `json:"target"`
	OK        bool                 `json:"ok"`
	Kind      string               `json:"kind,omitempty"`
	Message   string               `json:"message,omitempty"`
	Hint      string               `json:"hint,omitempty"`
	Account   string               `json:"account,omitempty"`
	Username  string               `json:"username,omitempty"`
	As        string               `json:"as,omitempty"`
	Verified  bool                 `json:"verified"`
	Native    bool                 `json:"native,omitempty"`
	Wider     bool                 `json:"wider,omitempty"`
	ExpiresAt *string              `json:"expires_at,omitempty"`
	RateLimit *api.RateLimitStatus `json:"rate_limit,omitempty"`
	Rotation  *api.RotationStatus  `json:"rotation,omitempty"` // where it is in trouble

	code int
}

type checkJSON struct {
	Schema  int       `json:"schema"`
	Targets []checked `json:"targets"`
}

// line is "ghcr.io/acme/app=push: ok: as acme-bot, account work, 52m left".
func (c checked) line(now time.Time) string {
	if !c.OK {
		return c.Target + ": " + strings.ReplaceAll(c.Kind, "_", " ") + ": " + c.Message
	}
	s := c.Target + ": ok"
	if !c.Verified {
		s = c.Target + ": there is a credential, and no way to try it"
	}
	if c.Username != "" {
		s += ", as " + c.Username
	}
	if c.Account != "" {
		s += ", account " + c.Account
	}
	if c.ExpiresAt != nil {
		if end, err := time.Parse(time.RFC3339, *c.ExpiresAt); err == nil {
			s += ", valid for " + span(end.Sub(now))
		}
	}
	if c.Wider {
		s += ", wider than asked for"
	}
	if c.Native {
		s += ", may clean up"
	}
	if c.RateLimit != nil {
		s += "; pulls: " + limitText(*c.RateLimit, now)
	}
	if c.Rotation != nil {
		s += "; rotation " + rotationTrouble(*c.Rotation)
	}
	return s
}

// limitText is "87 of 100 left, resets 14:00, as acme-bot"; times are those of
// now's zone.
func limitText(l api.RateLimitStatus, now time.Time) string {
	s := "no limit"
	if !l.Unlimited {
		s = fmt.Sprint(max(l.Remaining, 0), " left")
		if l.Limit > 0 {
			s = fmt.Sprintf("%d of %d left", max(l.Remaining, 0), l.Limit)
		}
		switch {
		case l.ResetsAt != nil && !l.ResetsAt.After(now):
			s += " at " + clockText(l.At, now) + ", reset since"
		case l.ResetsAt != nil:
			s += ", resets " + clockText(*l.ResetsAt, now)
		case l.Window > 0:
			s += " in " + span(time.Duration(l.Window)*time.Second)
		}
	}
	if l.Who != "" {
		s += ", as " + l.Who
	}
	return s
}

// clockText is "14:00", or "Nov 22 14:00" on another day than now.
func clockText(t, now time.Time) string {
	t = t.In(now.Location())
	y, m, d := t.Date()
	if ny, nm, nd := now.Date(); y == ny && m == nm && d == nd {
		return t.Format("15:04")
	}
	return t.Format("Jan 2 15:04")
}

// rotationTrouble says what is wrong with the rotation of a secret, "" where
// nothing is.
func rotationTrouble(r api.RotationStatus) string {
	if r.State == "ok" {
		return ""
	}
	s := state(r.State).text
	if r.Failures > 1 {
		s += fmt.Sprintf(" %d times", r.Failures)
	}
	if r.Message != "" {
		s += ": " + r.Message
	}
	return s
}
