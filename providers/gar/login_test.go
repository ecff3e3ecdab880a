// SPDX-License-Identifier: Apache-2.0

package gar_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

// person answers at a terminal.
type person struct {
	providers.LoginUI
	pick    string // a part of the choice; "" = nobody is there
	offered []string
	said    []string
}

func (p *person) Say(format string, args ...any) {
	p.said = append(p.said, fmt.Sprintf(format, args...))
}

func (p *person) Choose(_ context.Context, _ string, choices []string) (int, error) {
	p.offered = choices
	if len(choices) == 1 {
		return 0, nil
	}
	if p.pick == "" {
		return 0, providers.ErrNobody
	}
	return slices.IndexFunc(choices, func(c string) bool { return strings.Contains(c, p.pick) }), nil
}

func (p *person) Device(context.Context, providers.Device) error { return providers.ErrNobody }

func (w *world) login(p *person, o *gar.Options) (providers.LoginResult, error) {
	w.t.Helper()
	if o == nil {
		o = &gar.Options{}
	}
	return w.p.Login(w.t.Context(), providers.LoginRequest{Host: httpxtest.Host(w.t, registry), Account: w.account(o), Deps: w.deps, UI: p})
}

func TestLoginOffersWhatGcloudHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.layer = providers.LayerSaved // as a new one
	program, dir := w.gcloud()
	program.Configure(t, dir, "default", "jane@example.com", "acme", true)
	program.Configure(t, dir, "work", "joe@example.com", "shop", false)
	program.Configure(t, dir, "stale", "gone@example.com", "", false)
	for _, e := range []string{"joe@example.com", "jane@example.com", "max@example.com"} {
		program.LogIn(t, dir, e)
	}
	p := &person{pick: "joe@"}
	r, err := w.login(p, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"jane@example.com (gcloud configuration default, project acme)", "joe@example.com (gcloud configuration work, project shop)", "max@example.com (gcloud account)"}
	if !slices.Equal(p.offered, want) {
		t.Errorf("offered %q", p.offered)
	}
	o, _ := r.Account.Options.(*gar.Options)
	if r.Who != "joe@example.com" || !r.Write || o == nil || o.GcloudConfiguration != "work" || r.Account.Provider != "gar" || !r.Secret.IsZero() {
		t.Errorf("%+v", r)
	}
	if r, err = w.login(&person{pick: "max@"}, nil); err != nil || r.Who != "max@example.com" || !r.Write {
		t.Errorf("%+v, %v", r, err)
	}
	// The active configuration is found without being written down, and is taken
	// where nobody is there to choose.
	for _, pick := range []string{"jane@", ""} {
		if r, err = w.login(&person{pick: pick}, nil); err != nil || r.Who != "jane@example.com" || r.Write {
			t.Errorf("%+v, %v", r, err)
		}
		if o, _ := r.Account.Options.(*gar.Options); o.GcloudConfiguration != "" {
			t.Errorf("what is not written is pinned: %+v", o)
		}
	}
	w.g.User("joe@example.com").Logout()
	w.c.Advance(2 * 60 * 60e9)
	_, err = w.login(&person{pick: "joe@"}, nil)
	w.failure(err, providers.LoginRequired, "expired or revoked", "gcloud auth login --configuration=work")
}

func TestLoginTriesWhatIsThereAndSaysWhatIsNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.layer = providers.LayerAmbient
	_, err := w.login(&person{}, &gar.Options{MetadataEndpoint: w.c.Plain("elsewhere", nothing{})})
	w.failure(err, providers.LoginRequired, "no Google credentials on this machine; run: gcloud auth login", "-u _json_key --password-stdin")
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 200 {
		t.Errorf("more than a line: %v", err)
	}
	w.write(filepath.Join(w.deps.Home, ".config", "gcloud", "application_default_credentials.json"), w.g.User("jane@example.com").Login())
	r, err := w.login(&person{}, nil)
	if err != nil || r.Write || !strings.Contains(r.Who, "application_default_credentials.json") {
		t.Errorf("%+v, %v", r, err)
	}
	ci := w.g.ServiceAccount(ciAddress)
	w.deps.Env = map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": w.write("key.json", ci.Key())}
	if r, err = w.login(&person{}, nil); err != nil || r.Who != ciAddress || r.Write {
		t.Errorf("%+v, %v", r, err)
	}
	// An account that says who it is is tried as it is.
	w.layer, w.deps.Env = providers.LayerConfigured, map[string]string{}
	if r, err = w.login(&person{}, &gar.Options{Key: w.secret("KEY", ci.Key())}); err != nil || r.Who != ciAddress || r.Write {
		t.Errorf("%+v, %v", r, err)
	}
	// It reads nothing of the caller's then, nor does one on a host of another name.
	w.deps.Env = map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": filepath.Join(t.TempDir(), "absent.json")}
	if r, err = w.login(&person{}, nil); err != nil || r.Write || !strings.Contains(r.Who, "application_default_credentials.json") {
		t.Errorf("%+v, %v", r, err)
	}
	w.layer = providers.LayerSaved
	w.edit = func(a *providers.Account) { a.Hosts = []providers.Pattern{pattern(t, "reg.example.com")} }
	r, err = w.p.Login(t.Context(), providers.LoginRequest{Host: httpxtest.Host(t, "reg.example.com"), Account: w.account(&gar.Options{}), Deps: w.deps, UI: &person{}})
	if err != nil || !r.Write {
		t.Errorf("%+v, %v", r, err)
	}
	w.edit, w.layer = nil, providers.LayerConfigured
	ci.DeleteKeys()
	_, err = w.login(&person{}, &gar.Options{Key: w.secret("KEY", []byte(w.secrets["env:KEY"]))})
	w.failure(err, providers.LoginRequired, "no such key any more")
}

func pattern(t *testing.T, s string) providers.Pattern {
	t.Helper()
	p, err := providers.ParsePattern(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAccountsOfOneGcloudLoginAreLoggedInOnce(t *testing.T) {
	t.Parallel()
	p := gar.New()
	group := func(o any) string { return p.LoginGroup(providers.Account{Options: o}) }
	if a, b := group(&gar.Options{GcloudConfiguration: "work"}), group(&gar.Options{GcloudConfiguration: "home"}); a == b || a == "" || a != `gcloud configuration "work"` {
		t.Errorf("%q, %q", a, b)
	}
	if group(&gar.Options{}) == "" || group(&gar.Options{Metadata: "default"}) != "" || group(nil) != "" {
		t.Error("groups")
	}
}
