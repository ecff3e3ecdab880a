// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// The steps of an intent.
const (
	stepAsk  = "ask"  // the product may have been asked
	stepLost = "lost" // the old secret is dead, and no new one came
	// stepDamaged is never written: the file is there and says nothing.
	stepDamaged = "damaged"
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
	Spare   bool      `json:"spare,omitempty"` // the encrypted file may have the new secret
}

func (c *Core) intentPath(ref providers.SecretRef) string {
	return filepath.Join(c.rotateDir(), rotationID(ref)+".json")
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
	return !s.IsZero() && in.Old != "" && hmac.Equal([]byte(in.digest(s)), []byte(in.Old))
}

// readIntent is nil where there is none. One that cannot be read stands for a
// rotation of which nothing is known but its time.
func (c *Core) readIntent(ref providers.SecretRef) (in *intent, damaged error) {
	path := c.intentPath(ref)
	in = &intent{}
	err := readRecord(path, in)
	if err == nil && (in.Begun.IsZero() || in.Old == "") {
		err = errors.New(path + " is damaged")
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err == nil:
		return in, nil
	}
	in = &intent{Step: stepDamaged}
	if info, lerr := os.Lstat(path); lerr == nil {
		in.Begun = info.ModTime()
	}
	return in, err
}

func (c *Core) writeIntent(ref providers.SecretRef, in *intent) error {
	if err := writeRecord(c.intentPath(ref), in); err != nil {
		return &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("a rotation has to be written down before: %w", err)}
	}
	return nil
}

// interrupted reports that a rotation of ref was begun and has not ended.
func (c *Core) interrupted(ref providers.SecretRef) bool {
	_, err := os.Lstat(c.intentPath(ref))
	return err == nil
}

// intentsOpen lists the ids of rotations that have not ended.
func (c *Core) intentsOpen() []string {
	entries, err := os.ReadDir(c.rotateDir())
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok && filepath.Ext(id) == "" {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
