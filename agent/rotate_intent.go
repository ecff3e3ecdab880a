// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

// The steps of an intent.
const (
	stepAsk  = "ask"  // the product may have been asked
	stepLost = "lost" // the old secret is dead, and no new one came
)

// intent is what is written down before a product is asked for a new secret.
// It holds no secret: the old one is known by a salted digest.
type intent struct {
	Schema  int       `json:"schema"`
	Account string    `json:"account"`
	Host    string    `json:"host"`
	Begun   time.Time `json:"begun"`
	Step    string    `json:"step"`
	Salt    string    `json:"salt"`
	Old     string    `json:"old"`
}

// record is when the secret of an account was rotated last.
type record struct {
	Schema    int       `json:"schema"`
	Account   string    `json:"account"`
	Host      string    `json:"host"`
	Since     time.Time `json:"since"` // the schedule was first seen
	At        time.Time `json:"at,omitzero"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	FailedAt  time.Time `json:"failed_at,omitzero"`
	Failures  int       `json:"failures,omitempty"`
	Error     string    `json:"error,omitempty"`
}

func (c *Core) intentPath(ref providers.SecretRef) string {
	return filepath.Join(c.rotateDir(), rotationID(ref)+".json")
}

func (c *Core) recordPath(ref providers.SecretRef) string {
	return filepath.Join(c.rotateDir(), rotationID(ref)+".last.json")
}

func (r *rotation) newIntent(old providers.Secret) *intent {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt)
	in := &intent{
		Schema: 1, Account: r.account.Name, Host: r.host.String(), Begun: r.c.now().UTC(),
		Step: stepAsk, Salt: hex.EncodeToString(salt),
	}
	in.Old = in.digest(old)
	return in
}

// digest is short: it tells one secret from another, and is of little use to
// whoever guesses.
func (in *intent) digest(s providers.Secret) string {
	salt, _ := hex.DecodeString(in.Salt)
	m := hmac.New(sha256.New, salt)
	m.Write([]byte(s.Reveal()))
	return hex.EncodeToString(m.Sum(nil)[:8])
}

// isOld reports the secret that was to be replaced.
func (in *intent) isOld(s providers.Secret) bool {
	return !s.IsZero() && hmac.Equal([]byte(in.digest(s)), []byte(in.Old))
}

// readIntent is nil where there is none.
func (c *Core) readIntent(ref providers.SecretRef) (*intent, error) {
	var in intent
	if err := readRecord(c.intentPath(ref), &in); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, &providers.Error{Kind: providers.Misconfigured, Err: err, Hint: "look at the file and remove it"}
	}
	return &in, nil
}

func (c *Core) writeIntent(ref providers.SecretRef, in *intent) error {
	if err := writeRecord(c.intentPath(ref), in); err != nil {
		return &providers.Error{Kind: providers.Misconfigured, Err: err}
	}
	return nil
}

// interrupted reports that a rotation of ref was begun and has not ended.
func (c *Core) interrupted(ref providers.SecretRef) bool {
	_, err := os.Lstat(c.intentPath(ref))
	return err == nil
}

// record is nil where nothing is known.
func (r *rotation) record() (*record, error) { return r.c.readLast(r.ref) }

func (c *Core) readLast(ref providers.SecretRef) (*record, error) {
	var rec record
	if err := readRecord(c.recordPath(ref), &rec); err != nil {
		return nil, err
	}
	return &rec, nil
}

// note keeps how a rotation ended.
func (r *rotation) note(done *Rotated, err error) {
	rec, _ := r.record()
	now := r.c.now().UTC()
	if rec == nil {
		rec = &record{Since: now}
	}
	rec.Schema, rec.Account, rec.Host = 1, r.account.Name, r.host.String()
	if err != nil {
		rec.FailedAt, rec.Error = now, message(r.host, err)
		rec.Failures++
	} else {
		done.At = now
		rec.At, rec.ExpiresAt = now, done.ExpiresAt.UTC()
		if done.ExpiresAt.IsZero() {
			rec.ExpiresAt = time.Time{}
		}
		rec.FailedAt, rec.Failures, rec.Error = time.Time{}, 0, ""
	}
	if werr := writeRecord(r.c.recordPath(r.ref), rec); werr != nil {
		r.c.o.Log.Warn("the time of a rotation was not written down", "account", r.account.Name, "err", werr.Error())
	}
}

func writeRecord(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return config.WriteRecord(path, append(data, '\n'))
}

// maxRecord bounds what is read of our own state.
const maxRecord = 64 << 10

func readRecord(path string, v any) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > maxRecord {
		return errors.New(path + " is no record of ours")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return errors.New(path + " is damaged")
	}
	return nil
}
