// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// chores are lines about what is left of rate limits, rotations on a schedule,
// and what is still to be taken back.
func (v statusView) chores() []cell {
	var out []cell
	for _, l := range v.st.RateLimits {
		out = append(out, cell{l.Host + ": " + limitText(l), plain})
	}
	for _, r := range v.st.Rotations {
		out = append(out, v.rotation(r))
	}
	for _, r := range v.st.Revocations {
		c := cell{fmt.Sprintf("%s: made for job %s, not taken back yet", r.Host, shortID(r.Job)), yellow}
		if r.ExpiresAt != nil {
			c.text += "; it ends in " + span(r.ExpiresAt.Sub(v.now))
		}
		if r.Message != "" {
			c.text += "; " + r.Message
		}
		out = append(out, c)
	}
	return out
}

func (v statusView) rotation(r api.RotationStatus) cell {
	c := cell{"rotation of " + r.Account, plain}
	if r.Every > 0 {
		c.text += " every " + span(time.Duration(r.Every)*time.Second)
	}
	if r.LastAt != nil {
		c.text += ", last " + span(v.now.Sub(*r.LastAt)) + " ago"
	}
	switch {
	case r.DueAt != nil && r.DueAt.After(v.now):
		c.text += ", next in " + span(r.DueAt.Sub(v.now))
	case r.DueAt != nil:
		c.text += ", due now"
	}
	if r.State != "ok" {
		c.paint = yellow
		c.text += ": " + state(r.State).text
		if r.Message != "" {
			c.text += ": " + r.Message
		}
	}
	return c
}
