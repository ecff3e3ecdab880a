// SPDX-License-Identifier: Apache-2.0

package gar_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

// Who names an account, a configuration or a service account of gcloud's gets
// that or an error: not what the machine is, which may do more.
func TestANamedGcloudIdentityGivesWayToNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.layer = providers.LayerAmbient
	program, dir := w.gcloud()
	program.Configure(t, dir, "default", "jane@example.com", "acme", true)
	program.Configure(t, dir, "work", "joe@example.com", "acme", false)
	program.LogIn(t, dir, "jane@example.com")
	w.g.ServiceAccount(ciAddress).AllowImpersonation("user:jane@example.com")
	o := &gar.Options{MetadataEndpoint: w.g.Metadata(google.MetadataOptions{Account: w.g.ServiceAccount(hopAddress)}).URL}
	for _, tc := range []struct{ name, value, said string }{
		{"CLOUDSDK_CORE_ACCOUNT", "joe@example.com", "not logged in"},
		{"CLOUDSDK_ACTIVE_CONFIG_NAME", "work", "not logged in"},
		{"CLOUDSDK_ACTIVE_CONFIG_NAME", "none", "not logged in"},
	} {
		w.deps.Env = map[string]string{tc.name: tc.value}
		w.refused(o, providers.LoginRequired, tc.name, tc.said, "gcloud auth login")
	}
	w.deps.Env = map[string]string{"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": ciAddress}
	c := w.mint(o)
	w.is(c, "serviceAccount:"+ciAddress)
	if c.Origin != "gcloud as "+ciAddress+", impersonated by jane@example.com" {
		t.Errorf("origin %q", c.Origin)
	}
	program.LogOut(t, dir, "jane@example.com")
	w.refused(o, providers.LoginRequired, "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT")
	w.deps.Env = nil
	w.is(w.mint(o), "serviceAccount:"+hopAddress)
}

// Any command of gcloud leaves its data bases behind, and starting it takes a
// second: a public pull on such a machine must not.
func TestGcloudWithoutAnAccountIsNotStarted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.layer = providers.LayerAmbient
	program, dir := w.gcloud()
	o := &gar.Options{MetadataEndpoint: w.c.Plain("elsewhere", nothing{})}
	w.write(filepath.Join(dir, "credentials.db"), nil)
	w.refused(o, providers.NoAccount)
	program.Configure(t, dir, "default", "", "acme", true)
	w.refused(o, providers.NoAccount)
	if n := len(program.Calls()); n != 0 {
		t.Errorf("gcloud was started %d times", n)
	}
	program.Configure(t, dir, "default", "jane@example.com", "acme", true)
	program.LogIn(t, dir, "jane@example.com")
	w.is(w.mint(o), "user:jane@example.com")
}

// Every pull of a public image asks: a machine without a service account must
// not stand in its way.
func TestAMachineWithoutAServiceAccountIsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.g.Metadata(google.MetadataOptions{})
	w.layer = providers.LayerAmbient
	w.refused(&gar.Options{MetadataEndpoint: m.URL}, providers.NoAccount)
	w.layer = providers.LayerConfigured
	w.refused(&gar.Options{MetadataEndpoint: m.URL}, providers.Misconfigured, "service account")
	w.refused(&gar.Options{MetadataEndpoint: m.URL, Metadata: "default"}, providers.Misconfigured, "service account")
}

func TestASearchThatIsCutShortIsNoAbsence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.layer = providers.LayerAmbient
	m := w.g.Metadata(google.MetadataOptions{Account: w.g.ServiceAccount(ciAddress)})
	w.c.Inject(fakecloud.Fault{Host: "metadata", Hang: true})
	s := w.open(&gar.Options{MetadataEndpoint: m.URL})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Mint(ctx, w.request())
	w.failure(err, providers.Unavailable, "timed out")
	w.c.ClearFaults()
	c, err := s.Mint(t.Context(), w.request())
	if err != nil {
		t.Fatal(err)
	}
	w.is(c, "serviceAccount:"+ciAddress)
}

// A credentials file may come from a job, and name a file that only the agent
// can read: nothing but an identity token leaves.
func TestOnlyIdentityTokensAreSentFromFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.provider()
	for _, text := range []string{"hunter2-of-one-line\n", "a.b.c", "bm90.anNvbg.x", "ghp_0123456789abcdefghijklmnopqrstuvwxyz"} {
		secret := w.write("secret", []byte(text))
		w.refused(&gar.Options{Credentials: w.secret("WIF", p.Credentials(google.FileSource(secret), nil, 0))}, providers.Misconfigured, "no JWT")
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(secret, link); err != nil {
			t.Fatal(err)
		}
		w.refused(&gar.Options{Credentials: w.secret("WIF", p.Credentials(google.FileSource(link), nil, 0))}, providers.Misconfigured, "no JWT")
	}
	if w.reached("sts.googleapis.com") {
		t.Error("something was sent")
	}
}

// H50: a life of zero or less is one that is over, not one that is unknown.
func TestALifeThatIsOverIsNotTakenForUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.edit = func(a *providers.Account) { a.ExpiresIn = hour }
	key := w.secret("KEY", w.g.ServiceAccount(ciAddress).Key())
	for _, life := range []string{"0", "-5", "-0.5"} {
		w.c.ClearFaults()
		w.c.Inject(fakecloud.Fault{Host: "oauth2.googleapis.com", Status: 200, Body: strings.ReplaceAll(`{"access_token":"ya29.x","expires_in":LIFE,"token_type":"Bearer"}`, "LIFE", life)})
		s := w.open(&gar.Options{Key: key})
		if c, err := s.Mint(t.Context(), w.request()); err == nil {
			t.Errorf("expires_in %s: a token until %s", life, c.ExpiresAt)
		}
	}
	w.c.ClearFaults()
	w.c.Inject(fakecloud.Fault{Host: "oauth2.googleapis.com", Status: 200, Body: `{"access_token":"ya29.x","token_type":"Bearer"}`})
	if c := w.mint(&gar.Options{Key: key}); c.Life() != time.Hour {
		t.Errorf("life %s", c.Life())
	}
}
