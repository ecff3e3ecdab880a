// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/agent/api"
)

// chores are lines about what is left of rate limits, rotations on a schedule,
// and what is still to be taken back.
func (v statusView) chores() []cell {
	var out []cell
	for _, l := range v.st.RateLimits {
		c := cell{l.Host + ": " + limitText(l, v.now), plain}
		if !l.Unlimited && l.Remaining <= 0 && (l.ResetsAt == nil || l.ResetsAt.After(v.now)) {
			c.paint = yellow
		}
		out = append(out, c)
	}
	for _, r := range v.st.Rotations {
		out = append(out, v.rotation(r))
	}
	return append(out, v.revocations()...)
}

// maxRevocations is how many things to take back are shown for one registry: an
// outage may leave thousands.
const maxRevocations = 5

func (v statusView) revocations() []cell {
	var out []cell
	shown := map[string]int{}
	for _, r := range v.st.Revocations {
		if shown[r.Host]++; shown[r.Host] > maxRevocations {
			continue
		}
		c := cell{fmt.Sprintf("%s: made for job %s, not taken back yet", r.Host, shortID(r.Job)), yellow}
		if r.ExpiresAt != nil {
			c.text += "; it ends in " + span(r.ExpiresAt.Sub(v.now))
		}
		if r.Message != "" {
			c.text += "; " + strings.TrimPrefix(r.Message, r.Host+": ")
		}
		out = append(out, c)
	}
	for _, h := range slices.Sorted(maps.Keys(shown)) {
		if more := shown[h] - maxRevocations; more > 0 {
			out = append(out, cell{fmt.Sprintf("%s: and %d more that are not taken back yet", h, more), yellow})
		}
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
	if trouble := rotationTrouble(r); trouble != "" {
		c.paint = yellow
		c.text += ": " + trouble
	}
	return c
}
