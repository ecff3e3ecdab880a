// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// record is when the secret of an account was rotated last.
type record struct {
	Schema    int       `json:"schema"`
	Account   string    `json:"account"`
	Host      string    `json:"host"`
	Since     time.Time `json:"since"` // the schedule was first seen, or somebody logged in
	At        time.Time `json:"at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	LookedAt  time.Time `json:"looked_at,omitzero"` // the product was asked about the end
	FailedAt  time.Time `json:"failed_at,omitzero"`
	Failures  int       `json:"failures,omitempty"`
	Error     string    `json:"error,omitempty"`
}

func (rec *record) fail(at time.Time, text string) {
	rec.FailedAt, rec.Error = at, text
	rec.Failures++
}

func (rec *record) succeed() { rec.FailedAt, rec.Failures, rec.Error = time.Time{}, 0, "" }

// ahead is how far another clock may be ahead of this one.
const ahead = time.Minute

// restrain takes times back that are yet to come: the clock was wrong when they
// were written, and what counts from them would wait for it to be so again.
func (rec *record) restrain(now time.Time) (changed bool) {
	for _, t := range []*time.Time{&rec.Since, &rec.At, &rec.LookedAt, &rec.FailedAt} {
		if t.Sub(now) > ahead {
			*t, changed = now, true
		}
	}
	return changed
}

func (c *Core) recordPath(ref providers.SecretRef) string {
	return filepath.Join(c.rotateDir(), rotationID(ref)+".last.json")
}

// record is nil where nothing is known.
func (r *rotation) record() (*record, error) { return r.c.readLast(r.ref) }

func (c *Core) readLast(ref providers.SecretRef) (*record, error) {
	var rec record
	path := c.recordPath(ref)
	if err := readRecord(path, &rec); err != nil {
		return nil, err
	}
	if rec.Since.IsZero() {
		return nil, errors.New(path + " is damaged")
	}
	return &rec, nil
}

// change writes what is known of the secret anew.
func (r *rotation) change(do func(rec *record, now time.Time)) error {
	now := r.c.now().UTC()
	rec, _ := r.record()
	if rec == nil {
		rec = &record{Since: now}
	}
	rec.Schema, rec.Account, rec.Host = 1, r.account.Name, r.host.String()
	do(rec, now)
	return writeRecord(r.c.recordPath(r.ref), rec)
}

func (r *rotation) note(do func(rec *record, now time.Time)) {
	if err := r.change(do); err != nil {
		r.c.o.Log.Warn("what became of a rotation was not written down", "account", r.account.Name, "err", err.Error())
	}
}

// failed keeps why a rotation ended.
func (r *rotation) failed(err error) {
	r.note(func(rec *record, now time.Time) { rec.fail(now, message(r.host, err)) })
}

// done keeps that the new secret is in its place.
func (r *rotation) done(done *Rotated) {
	r.note(func(rec *record, now time.Time) {
		done.At = now
		rec.At, rec.LookedAt, rec.ExpiresAt = now, now, done.ExpiresAt.UTC()
		if done.ExpiresAt.IsZero() { // to be asked
			rec.LookedAt, rec.ExpiresAt = time.Time{}, time.Time{}
		}
		rec.succeed()
	})
}

func writeRecord(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return config.WriteRecord(path, append(data, '\n'))
}

func readRecord(path string, v any) error {
	data, err := config.ReadRecord(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return errors.New(path + " is damaged")
	}
	return nil
}
