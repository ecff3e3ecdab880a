// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

// sealerSource makes robots that only their own secret ends.
type sealerSource struct{ *robotSource }

func (s *sealerSource) Seal(_ context.Context, r providers.Request, c providers.Credential) (string, error) {
	return base64.StdEncoding.EncodeToString([]byte(r.Job + " " + c.Username)), nil
}

func (s *sealerSource) Unseal(_ context.Context, r providers.Request, text string) (providers.Credential, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	job, name, ok := strings.Cut(string(b), " ")
	if err != nil || !ok || job != r.Job {
		return providers.Credential{}, errors.New("not sealed for this job")
	}
	return providers.Credential{Username: name, Secret: providers.NewSecret("s-" + name)}, nil
}

func (s *sealerSource) Lives() time.Duration { return time.Hour }

// MintNative makes a robot too; a target gets the account's own secret.
func (s *sealerSource) MintNative(ctx context.Context, r providers.Request) (providers.Native, error) {
	if len(r.Grants) > 0 {
		return providers.Native{Credential: providers.Credential{Username: "own", Secret: providers.NewSecret("own")}}, nil
	}
	c, err := s.Mint(ctx, r)
	return providers.Native{Credential: c, ForJob: true}, err
}

func newSealedRig(t *testing.T) *robotRig {
	r := newRobotRig(t)
	r.sealed = true
	return r
}

func TestTheNextAgentTakesBackWhatIsSealedInTheJournal(t *testing.T) {
	r := newSealedRig(t)
	first := r.agent()
	j := r.open(first)
	getIn(t, first, j, api.OK)
	resp := first.Get(t.Context(), j, &api.GetRequest{Key: "reg.example", Native: true})
	if resp.Outcome != api.OK || r.robots.count() != 2 {
		t.Fatalf("%+v, %d robots", resp, r.robots.count())
	}
	files, _ := filepath.Glob(filepath.Join(r.state, "revoke", "*.json"))
	if text, err := os.ReadFile(files[0]); err != nil || len(files) != 1 || strings.Contains(string(text), resp.Secret) {
		t.Fatalf("%v %q %s", err, files, text)
	}
	second := r.agent()
	r.robots.set(func() { r.robots.down = true })
	second.revoked.sweep(t.Context(), nobodyLives)
	if r.journal() != 1 || r.robots.count() != 2 {
		t.Fatal("an entry is gone before what it is about")
	}
	r.robots.set(func() { r.robots.down = false })
	r.later(revokeAgain)
	second.revoked.sweep(t.Context(), nobodyLives)
	if r.journal() != 0 || r.robots.count() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

func TestAnAgentThatTakesAJobOverTakesBackWhatBothMade(t *testing.T) {
	r := newSealedRig(t)
	first := r.agent()
	getIn(t, first, r.open(first), api.OK)
	second := r.agent()
	j := r.open(second)
	getIn(t, second, j, api.OK)
	if r.robots.count() != 2 {
		t.Fatalf("%d robots", r.robots.count())
	}
	j.close("test")
	second.revoke(j)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

func TestALostAnswerIsWaitedForNoLongerThanSuchThingsLive(t *testing.T) {
	r := newSealedRig(t)
	r.robots.lose = true
	first := r.agent()
	getIn(t, first, r.open(first), api.Failed)
	second := r.agent()
	second.revoked.sweep(t.Context(), nobodyLives)
	if r.journal() != 1 {
		t.Fatal("forgotten at once")
	}
	r.later(time.Hour)
	second.revoked.sweep(t.Context(), nobodyLives)
	if r.journal() != 0 {
		t.Fatal("an entry outlives what it is about")
	}
}

func TestANativeTokenThatIsMadeForAJobEndsWithIt(t *testing.T) {
	r := newSealedRig(t)
	c := r.agent()
	j := r.open(c)
	r.robots.seen = func() {
		if r.journal() != 1 {
			t.Error("made before it was written down")
		}
	}
	if resp := c.Get(t.Context(), j, &api.GetRequest{Key: "reg.example", Native: true}); resp.Outcome != api.OK {
		t.Fatalf("%+v", resp)
	}
	if r.robots.count() != 1 {
		t.Fatal("none was made")
	}
	j.close("test")
	c.revoke(j)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

func TestAnAccountsOwnNativeTokenIsNotTakenBack(t *testing.T) {
	r := newSealedRig(t)
	c := r.agent()
	r.robots.set(func() { r.robots.living["own"] = "nobody's" })
	j := r.open(c)
	resp := c.Get(t.Context(), j, &api.GetRequest{Key: "reg.example/a=delete", Native: true})
	if resp.Outcome != api.OK {
		t.Fatalf("%+v", resp)
	}
	j.close("test")
	c.revoke(j)
	if r.robots.count() != 1 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

// What one attempt had no time for is where the next begins.
func TestAnAttemptGoesOnWhereTheLastOneEnded(t *testing.T) {
	for name, next := range map[string]bool{"the same agent": false, "the next agent": true} {
		t.Run(name, func(t *testing.T) {
			r := newSealedRig(t)
			c := r.agent()
			j := r.open(c)
			for range 5 {
				if resp := c.Get(t.Context(), j, &api.GetRequest{Key: "reg.example", Native: true}); resp.Outcome != api.OK {
					t.Fatalf("%+v", resp)
				}
			}
			j.close("test")
			if next {
				c = r.agent()
				c.revoked.load()
			}
			r.robots.set(func() { r.robots.patience, r.robots.down = 2, false })
			for left := 3; left > 0; left -= 2 {
				c.revoked.sweep(t.Context(), nobodyLives)
				if n := r.robots.count(); n != left || r.journal() != 1 {
					t.Fatalf("%d robots, want %d; %d entries", n, left, r.journal())
				}
				r.robots.set(func() { r.robots.patience, r.robots.down = 2, false })
				r.later(revokeAtMost / 4)
			}
			c.revoked.sweep(t.Context(), nobodyLives)
			if r.robots.count() != 0 || r.journal() != 0 {
				t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
			}
		})
	}
}
