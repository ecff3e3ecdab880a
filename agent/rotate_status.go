// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// rotationStatus is what a person should know of rotations: those on a
// schedule, and those that were interrupted. all: accounts are those of
// everybody, not of a job.
func (c *Core) rotationStatus(accounts []providers.Account, all bool) []api.RotationStatus {
	var out []api.RotationStatus
	left := c.intentsOpen()
	open := len(left) > 0
	said := map[string]bool{} // a secret that several share
	for _, a := range accounts {
		if ref, err := rotateRef(a); err == nil && a.Rotate > 0 {
			said[rotationID(ref)] = true
		}
	}
	for _, a := range accounts {
		if a.Rotate == 0 && !open {
			continue
		}
		ref, err := rotateRef(a)
		if err == nil {
			left = slices.DeleteFunc(left, func(id string) bool { return id == rotationID(ref) })
		}
		if a.Rotate == 0 && (err != nil || said[rotationID(ref)] || !c.interrupted(ref)) {
			continue
		}
		if err == nil {
			said[rotationID(ref)] = true
		}
		st := api.RotationStatus{Account: a.Name, Every: int64(time.Duration(a.Rotate).Seconds()), State: "ok"}
		for _, p := range a.Hosts {
			st.Hosts = append(st.Hosts, p.String())
		}
		if err != nil {
			st.State, st.Message = string(providers.KindOf(err)), message(hostOf(a), err)
			out = append(out, st)
			continue
		}
		c.describeRotation(a, ref, &st)
		out = append(out, st)
	}
	if !all {
		return out
	}
	for _, id := range left { // whose account is no more
		var in intent
		if readRecord(filepath.Join(c.rotateDir(), id+".json"), &in) == nil {
			out = append(out, api.RotationStatus{
				Account: in.Account, Hosts: []string{in.Host}, State: "interrupted",
				Message: "begun at " + in.Begun.Local().Format("2006-01-02 15:04") + ", and the account is not configured any more; put it back and run: regmint rotate " + in.Host,
			})
		}
	}
	return out
}

// commandAt is what to run about an account, which may have no host but a
// wildcard.
func commandAt(verb string, h providers.Host, account string) string {
	switch {
	case !h.IsZero():
		return "regmint " + verb + " " + h.String()
	case verb == "login":
		return "regmint login HOST --as " + account
	}
	return "regmint " + verb + " HOST --account " + account
}

// troubledRotation is what is wrong with the rotation of an account's secret;
// nil: nothing.
func (c *Core) troubledRotation(a providers.Account) *api.RotationStatus {
	for _, st := range c.rotationStatus([]providers.Account{a}, false) {
		if st.State != "ok" {
			return &st
		}
	}
	return nil
}

// describeRotation says what is written down about the secret of an account.
func (c *Core) describeRotation(a providers.Account, ref providers.SecretRef, st *api.RotationStatus) {
	h := hostOf(a)
	if rec, err := c.readLast(ref); err == nil {
		rec.restrain(c.now().UTC())
		st.LastAt = timeOrNil(rec.At)
		st.ExpiresAt = timeOrNil(rec.ExpiresAt)
		if a.Rotate > 0 {
			st.DueAt = timeOrNil(rec.due(time.Duration(a.Rotate)))
		}
		if st.Failures = rec.Failures; rec.Failures > 0 {
			st.State, st.Message = "failed", rec.Error
		}
	} else if a.Rotate > 0 && !errors.Is(err, fs.ErrNotExist) {
		st.State, st.Message = "failed", err.Error()
	}
	switch in, damaged := c.readIntent(ref); {
	case in == nil:
	case in.Step == stepLost:
		st.State, st.Message = string(providers.LoginRequired), message(h, in.lostError(h))
	default:
		st.State = "interrupted"
		if st.Message == "" {
			st.Message = "begun at " + in.Begun.Local().Format("2006-01-02 15:04") + "; run: " + commandAt("rotate", h, a.Name)
		}
		if damaged != nil {
			st.Message = damaged.Error()
		}
	}
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
