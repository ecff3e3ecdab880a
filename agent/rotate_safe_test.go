// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/config"
	"github.com/regmint/regmint/providers"
)

func TestASecretThatAnotherMachineRotatedIsNotUsedForARotation(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	if _, err := r.product.rotate("t0"); err != nil { // over there
		t.Fatal(err)
	}
	_, err := r.process().Rotate(t.Context(), r.account, nil)
	if providers.KindOf(err) != providers.LoginRequired || !strings.Contains(err.Error(), "another machine") {
		t.Fatal(err)
	}
	if r.product.reuses > 0 || len(r.product.alive) != 1 || len(r.left()) > 0 {
		t.Fatalf("%d reuses, %v lives, left %v", r.product.reuses, r.product.alive, r.left())
	}
}

func TestAnOutageBeforeTheQuestionInterruptsNothing(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.product.down = true
	_, err := r.process().Rotate(t.Context(), r.account, nil)
	if providers.KindOf(err) != providers.Unavailable || strings.Contains(err.Error(), "not known") || len(r.left()) > 0 {
		t.Fatalf("%v, left %v", err, r.left())
	}
}

// A rotation may hold its lock for a day, where nothing takes the new secret:
// gets meanwhile have what there is, and leave nothing behind that waits.
func TestGetsDuringALongRotationLeaveNothingWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotRig(t)
		c := r.process()
		mustDo(t, c.writeIntent(r.account.Password, (&rotation{c: c, account: r.account}).newIntent(providers.NewSecret("t0"))))
		rot := &rotation{c: c, ref: r.account.Password}
		unlock, err := config.Lock(t.Context(), r.state, rot.lock())
		mustDo(t, err)
		for range 3 {
			if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != "t0" {
				t.Fatalf("%+v", resp)
			}
			c.Refresh(nil, api.HostRequest{})
		}
		if got, err := config.TryLock(r.state, rot.lock()); got != nil || err != nil {
			t.Fatalf("two have the lock; %v", err)
		}
		unlock()
		again, err := config.TryLock(r.state, rot.lock()) // nobody else was in the queue
		if again == nil || err != nil {
			t.Fatalf("somebody still waits; %v", err)
		}
		again()
	})
}

// A login may have any name, and keeps its secret under it.
func TestARotationTouchesNoLoginOfAnotherName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"next", "rotate", "next-1"} {
		r := newRotRig(t)
		c := r.process()
		h, err := providers.ParseHost("reg.example")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.SaveLogin(t.Context(), SavedLogin{Host: h, Username: "me", Secret: providers.NewSecret("mine"), Name: name}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Rotate(t.Context(), r.account, nil); err != nil {
			t.Fatal(err)
		}
		if got, _ := r.store.Get(t.Context(), "reg.example#"+name); got.Reveal() != "mine" {
			t.Errorf("the login %q is gone", name)
		}
	}
}

// garbage is what may lie where one of our files should be.
var garbage = map[string]func(t *testing.T, path string){
	"cut off":   func(t *testing.T, path string) { writeText(t, path, `{"schema": 1, "sta`) },
	"empty":     func(t *testing.T, path string) { writeText(t, path, "") },
	"not ours":  func(t *testing.T, path string) { writeText(t, path, "{}") },
	"huge":      func(t *testing.T, path string) { writeText(t, path, strings.Repeat("x", 65<<10)) },
	"directory": func(t *testing.T, path string) { mustDo(t, os.MkdirAll(path, 0o700)) },
	"link": func(t *testing.T, path string) {
		mustDo(t, os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), path))
	},
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	mustDo(t, os.WriteFile(path, []byte(text), 0o600))
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestADamagedIntentStopsNoGetAndTheProductSaysHowItEnded(t *testing.T) {
	t.Parallel()
	for name, damage := range garbage {
		for state, want := range map[string]string{"nothing happened": "t1", "new one saved": "t1", "answer lost": ""} {
			r := newRotRig(t)
			c := r.process()
			mustDo(t, os.MkdirAll(c.rotateDir(), 0o700))
			damage(t, c.intentPath(r.account.Password))
			if state != "nothing happened" {
				fresh, err := r.product.rotate("t0")
				mustDo(t, err)
				r.store.mapStore[r.second()] = providers.NewSecret("t0") // a rehearsal
				if state == "new one saved" {
					r.store.mapStore[r.second()] = providers.NewSecret(fresh)
				}
			}
			r.now = time2040
			if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Outcome != api.OK {
				t.Fatalf("%s, %s: get: %+v", name, state, resp)
			}
			_, err := r.process().Rotate(t.Context(), r.account, nil)
			if r.product.reuses > 0 {
				t.Fatalf("%s, %s: a dead secret was used again", name, state)
			}
			if name == "directory" { // nothing can be written down there
				continue
			}
			if want == "" {
				if providers.KindOf(err) != providers.LoginRequired || !strings.Contains(err.Error(), "interrupted") {
					t.Fatalf("%s, %s: %v", name, state, err)
				}
			} else if err != nil || r.secret().Reveal() != want || len(r.left()) > 0 {
				t.Fatalf("%s, %s: %v, secret %s, left %v", name, state, err, r.secret().Reveal(), r.left())
			}
		}
	}
}

// A secret that is no token of the product is not shown to it as one.
func TestWhatCannotBeRotatedIsNotAskedAbout(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.product.plan = &providers.Error{Kind: providers.Misconfigured, Err: errors.New("an OAuth login")}
	r.product.alive = map[string]bool{}
	_, err := r.process().Rotate(t.Context(), r.account, nil)
	if providers.KindOf(err) != providers.Misconfigured || r.product.looks != 0 || len(r.left()) > 0 {
		t.Fatalf("%v, %d questions", err, r.product.looks)
	}
}

func TestAClockThatWasWrongDoesNotStopACommand(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	right := r.now
	r.now = time2040
	for range 2 {
		if done, err := r.process().Rotate(t.Context(), r.account, nil); err != nil || done.Shared {
			t.Fatalf("%+v %v", done, err)
		}
		r.now = right
	}
	if r.secret().Reveal() != "t2" {
		t.Fatalf("secret %s", r.secret().Reveal())
	}
}

// An answer that no store can keep is none.
func TestAnAnswerThatIsNoSecretIsALostOne(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "t0", "a\nb", "a\x00"} {
		r := newRotRig(t)
		r.product.answer = func(string) string { return text }
		if _, err := r.process().Rotate(t.Context(), r.account, nil); providers.KindOf(err) != providers.Unavailable || r.secret().Reveal() != "t0" {
			t.Fatalf("%q: %v, secret %s", text, err, r.secret().Reveal())
		}
	}
}

func TestALogoutTakesWhatAnInterruptedRotationLeftAlong(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.kill = func(step string) {
		if step == "next" {
			panic(killed{step})
		}
	}
	live(func() { _, _ = r.process().Rotate(t.Context(), r.account, nil) })
	r.kill = func(string) {}
	c := r.process()
	delete(r.store.mapStore, "reg.example")
	c.SecretRemoved(t.Context(), "reg.example")
	if len(r.left()) > 0 {
		t.Fatalf("left %v", r.left())
	}
	if resp := r.process().Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Kind != string(providers.LoginRequired) {
		t.Fatalf("get: %+v", resp)
	}
}

func TestAPlanOfAnInterruptedRotationSaysSoAndAsksNobody(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.product.lose = func() (bool, bool) { return false, true }
	began := r.now
	_, _ = r.process().Rotate(t.Context(), r.account, nil)
	plan, err := r.process().PlanRotation(t.Context(), r.account, nil)
	if err != nil || !plan.Interrupted.Equal(began) || plan.Dies != "" {
		t.Fatalf("%+v, %v", plan, err)
	}
	r.now = time2040
	r.process().settleAll(t.Context())
	if _, err := r.process().PlanRotation(t.Context(), r.account, nil); providers.KindOf(err) != providers.LoginRequired {
		t.Fatalf("lost: %v", err)
	}
}

func TestAnAccountWithoutAHostInFullIsNamedInHints(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.account.Rotate = providers.Duration(24 * 3600e9)
	pat, err := providers.ParsePattern("*.example")
	mustDo(t, err)
	other := r.account
	r.account.Hosts = []providers.Pattern{pat}
	other.Name, other.Rotate = "other", 0
	r.more = []providers.Account{other}
	r.product.lose = func() (bool, bool) { return false, true }
	if _, err := r.process().Rotate(t.Context(), r.account, nil); !strings.Contains(err.Error(), "regmint rotate HOST --account ci") {
		t.Error(err)
	}
	r.now = time2040
	r.process().settleAll(t.Context())
	st := r.process().Status(nil).Rotations
	if len(st) != 1 || !strings.Contains(st[0].Message, "regmint login HOST --as ci") {
		t.Errorf("%+v", st)
	}
	r.account.Password = providers.SecretRef{Scheme: "file", Value: filepath.Join(t.TempDir(), "none")}
	r.account.RotateTo = providers.SecretRef{Scheme: "exec", Value: "/bin/none"}
	r.account.Hosts = other.Hosts
	if _, err := r.process().Rotate(t.Context(), r.account, nil); err == nil || !strings.HasPrefix(err.Error(), "reg.example: ") {
		t.Error(err)
	}
}

func TestAnInterruptedRotationOfAnAccountThatIsNoMoreIsShown(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.product.lose = func() (bool, bool) { return false, true }
	_, _ = r.process().Rotate(t.Context(), r.account, nil)
	r.account.Name = "renamed" // the secret is the same
	if st := r.process().Status(nil).Rotations; len(st) != 1 || st[0].Account != "renamed" {
		t.Fatalf("renamed: %+v", st)
	}
	r.account.Password.Value = "elsewhere"
	if st := r.process().Status(nil).Rotations; len(st) != 1 || st[0].Account != "ci" || !strings.Contains(st[0].Message, "not configured any more") {
		t.Fatalf("gone: %+v", st)
	}
}

// The registry is asked about the old secret, and answers after the rotation.
func TestAQuestionAboutTheFormerSecretSaysNothingAboutTheNewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRotRig(t)
		answer := make(chan struct{})
		r.product.verify = func(token string) error {
			if token == "t0" {
				<-answer
				return &providers.Error{Kind: providers.LoginRequired, Err: errors.New("401")}
			}
			return nil
		}
		c := r.process()
		get := func(want string) {
			t.Helper()
			if resp := c.Get(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); resp.Secret != want {
				t.Fatalf("got %+v, want %s", resp, want)
			}
		}
		get("t0")
		if _, err := c.Rotate(t.Context(), r.account, nil); err != nil {
			t.Fatal(err)
		}
		get("t1")
		close(answer)
		synctest.Wait()
		if st := c.Status(nil).Accounts; st[0].State != "ok" || c.count.rejected.Load() != 0 {
			t.Fatalf("status %+v", st)
		}
		get("t1")
	})
}

func TestACheckTellsOfARotationInTrouble(t *testing.T) {
	t.Parallel()
	r := newRotRig(t)
	r.account.Rotate = providers.Duration(24 * 3600e9)
	c := r.process()
	if out := c.Check(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); out.Outcome != api.OK || out.Rotation != nil {
		t.Fatalf("%+v", out)
	}
	r.product.down = true
	for range 2 {
		_, _ = c.Rotate(t.Context(), r.account, nil)
	}
	if out := c.Check(t.Context(), nil, &api.GetRequest{Key: "reg.example"}); out.Outcome != api.OK || out.Rotation == nil || out.Rotation.Failures != 2 {
		t.Fatalf("%+v", out)
	}
}
