// SPDX-License-Identifier: Apache-2.0

package gar_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/test/fakecloud/google"
)

func TestAWSIdentityByOptionsAndByTheInstance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.g.Provider(google.WorkloadProvider{AWSAccount: "123456789012"})
	var keyID, region string
	w.c.Handle("sts.*.amazonaws.com", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		// Google sends on what was signed; the scope of the signature says with what.
		scope := r.Header.Get("Authorization")
		_, rest, _ := strings.Cut(scope, "Credential=")
		parts := strings.Split(rest, "/")
		keyID, region = parts[0], parts[2]
		_, _ = rw.Write([]byte(`<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:sts::123456789012:assumed-role/ci/i-1</Arn><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`))
	}))
	imds := w.c.Plain("imds", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" {
			_, _ = rw.Write([]byte("session"))
			return
		}
		answers := map[string]string{
			"/latest/meta-data/placement/region":            "eu-west-1",
			"/latest/meta-data/iam/security-credentials/":   "ci",
			"/latest/meta-data/iam/security-credentials/ci": `{"AccessKeyId":"ASIAINSTANCE","SecretAccessKey":"s","Token":"t"}`,
		}
		text, ok := answers[r.URL.Path]
		if !ok || r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session" {
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = rw.Write([]byte(text))
	}))
	file := w.secret("WIF", p.Credentials(google.AWSSource("http://169.254.169.254"), nil, 0))
	want := p.Principal("arn:aws:sts::123456789012:assumed-role/ci/i-1")
	w.is(w.mint(&gar.Options{Credentials: file, AWSMetadataEndpoint: imds}), want)
	if keyID != "ASIAINSTANCE" || region != "eu-west-1" {
		t.Errorf("signed by %s in %s", keyID, region)
	}
	w.is(w.mint(&gar.Options{
		Credentials: file, AWSRegion: "eu-central-1",
		AWSAccessKeyID: w.secret("AKID", []byte("AKIAOPTION")), AWSSecretAccessKey: w.secret("AKSECRET", []byte("secret-of-the-option")),
	}), want)
	if keyID != "AKIAOPTION" || region != "eu-central-1" {
		t.Errorf("signed by %s in %s", keyID, region)
	}
	w.layer = providers.LayerAmbient
	w.deps.Env = map[string]string{
		"GOOGLE_APPLICATION_CREDENTIALS": w.write("aws.json", p.Credentials(google.AWSSource("http://169.254.169.254"), nil, 0)),
		"AWS_ACCESS_KEY_ID":              "AKIACALLER", "AWS_SECRET_ACCESS_KEY": "secret-of-the-caller", "AWS_REGION": "us-east-1",
	}
	w.is(w.mint(nil), want)
	if keyID != "AKIACALLER" || region != "us-east-1" {
		t.Errorf("signed by %s in %s", keyID, region)
	}
}

func TestMetadataServerAndItsServiceAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	m := w.g.Metadata(google.MetadataOptions{Account: ci})
	for _, name := range []string{"default", ciAddress} {
		w.is(w.mint(&gar.Options{Metadata: name, MetadataEndpoint: m.URL}), ci.Member())
	}
	w.refused(&gar.Options{Metadata: "other@acme.iam.gserviceaccount.com", MetadataEndpoint: m.URL}, providers.Misconfigured, "knows no service account other@", "give the machine or pod a service account")
	deploy := w.g.ServiceAccount(deployAddress).AllowImpersonation(ci.Member())
	w.is(w.mint(&gar.Options{Metadata: "default", MetadataEndpoint: m.URL, ServiceAccount: deployAddress}), deploy.Member())

	// An account that names nobody finds it too.
	w.is(w.mint(&gar.Options{MetadataEndpoint: m.URL}), ci.Member())
	gke := w.g.Metadata(google.MetadataOptions{Account: ci, GKE: true})
	c := w.mint(&gar.Options{MetadataEndpoint: gke.URL}, pull("acme/images/app"))
	w.is(c, ci.Member(), google.ScopeReadOnly)
	if !c.Wider {
		t.Error("a metadata server's token counts as narrowed to a repository")
	}
}

// A metadata server answers from its cache: what is left is taken as it is.
func TestShortMetadataTokensAreTakenAndSpentOnesAreNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := w.g.Metadata(google.MetadataOptions{Account: w.g.ServiceAccount(ciAddress), Life: 10 * time.Minute, RenewAt: time.Second})
	o := &gar.Options{Metadata: "default", MetadataEndpoint: m.URL}
	first := w.mint(o)
	w.c.Advance(9*time.Minute + 40*time.Second)
	second := w.mint(o)
	if !first.Secret.Equal(second.Secret) {
		t.Fatal("the server was to repeat itself")
	}
	if d := second.ExpiresAt.Sub(first.ExpiresAt); d.Abs() > 2*time.Second || second.Life() > 21*time.Second {
		t.Errorf("the same token ends %s later; life %s", d, second.Life())
	}
	if n := w.count("metadata"); n != 2 {
		t.Errorf("%d requests for two mints", n)
	}
	w.c.Advance(12 * time.Second)
	_, err := w.open(o).Mint(t.Context(), w.request())
	w.failure(err, providers.Unavailable, "the token ends in ")
	if e, ok := errors.AsType[*providers.Error](err); !ok || e.RetryAfter <= 0 || e.RetryAfter > 10*time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	if n := w.count("metadata"); n != 3 {
		t.Errorf("%d requests for three mints", n)
	}
}

func TestGcloudByConfigurationAndAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, dir := w.gcloud()
	p.Configure(t, dir, "default", "jane@example.com", "acme", true)
	p.Configure(t, dir, "work", "joe@example.com", "acme", false)
	p.LogIn(t, dir, "jane@example.com")
	p.LogIn(t, dir, "joe@example.com")
	w.is(w.mint(&gar.Options{}), "user:jane@example.com")
	w.is(w.mint(&gar.Options{GcloudConfiguration: "work"}), "user:joe@example.com")
	w.is(w.mint(&gar.Options{GcloudAccount: "joe@example.com"}), "user:joe@example.com")
	deploy := w.g.ServiceAccount(deployAddress).AllowImpersonation("user:joe@example.com")
	w.is(w.mint(&gar.Options{GcloudConfiguration: "work", ServiceAccount: deployAddress}), deploy.Member())
	c := w.mint(&gar.Options{GcloudConfiguration: "work"}, pull("acme/images/app"))
	if !c.Wider {
		t.Error("a person's token counts as narrowed")
	}
	// The caller's configuration, where the account is ambient.
	w.layer = providers.LayerAmbient
	w.deps.Env = map[string]string{"CLOUDSDK_ACTIVE_CONFIG_NAME": "work"}
	w.is(w.mint(nil), "user:joe@example.com")
	other := t.TempDir()
	p.Configure(t, other, "default", "max@example.com", "", true)
	p.LogIn(t, other, "max@example.com")
	w.deps.Env = map[string]string{"CLOUDSDK_CONFIG": other}
	w.is(w.mint(nil), "user:max@example.com")

	w.deps.Env, w.layer = map[string]string{}, providers.LayerConfigured
	w.g.User("joe@example.com").RequireReauth(true)
	w.c.Advance(time.Hour) // gcloud has a cache of its own
	w.refused(&gar.Options{GcloudConfiguration: "work"}, providers.LoginRequired, "asks for a new login", "gcloud auth login --configuration=work")
	p.LogOut(t, dir, "joe@example.com")
	w.refused(&gar.Options{GcloudConfiguration: "work"}, providers.LoginRequired, "gcloud auth login --configuration=work")
	w.refused(&gar.Options{GcloudConfiguration: "absent"}, providers.Misconfigured, `no configuration "absent"`)
}
