// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

const (
	garHost   = "europe-west1-docker.pkg.dev"
	garImages = garHost + "/acme/images"
	garApp    = garImages + "/app:1"
	garUser   = "oauth2accesstoken"

	garCI     = "ci@acme.iam.gserviceaccount.com"
	garDeploy = "deploy@acme.iam.gserviceaccount.com"
	garReader = "reader@acme.iam.gserviceaccount.com"
)

// garWorld is a person whose network ends at a fake Google Cloud.
type garWorld struct {
	*world
	g *google.Google
}

func newGAR(t *testing.T, o google.Options) *garWorld {
	t.Helper()
	cloud := fakecloud.Start(t)
	return &garWorld{newWorld(t, cloud), google.New(cloud, o)}
}

// garAccount is the text of an account for every host of Google's.
func garAccount(lines ...string) string {
	return "[[account]]\nname = \"google\"\nprovider = \"gar\"\nhosts = [\"" + garHost + "\", \"gcr.io\"]\n" + strings.Join(lines, "\n")
}

func (w *garWorld) file(name string, b []byte) string { return w.write(name, string(b)) }

// did reports who did what at a registry.
func (w *garWorld) did(who, action string) bool {
	return slices.ContainsFunc(w.g.Done(), func(d fakecloud.Done) bool { return d.Who == who && d.Action == action })
}

// pushesAndPulls checks that both happen as the member.
func (w *garWorld) pushesAndPulls(member string, env ...string) {
	w.t.Helper()
	w.g.Repository(garImages).Writers(member)
	w.pushPull(garApp, env...)
	if !w.did(member, "push") || !w.did(member, "pull") {
		w.t.Errorf("%s did not push and pull: %+v", member, w.g.Done())
	}
	if a := w.mustGet(garHost, env...); a.Username != garUser {
		w.t.Errorf("user %q", a.Username)
	}
}

func garResource(p *google.Provider) string {
	return strings.TrimPrefix(p.Audience(), "//iam.googleapis.com/")
}

func TestGoogleIdentitiesOfEveryTypePushAndPull(t *testing.T) {
	t.Parallel()
	for name, setUp := range map[string]func(w *garWorld) (account, member string, env []string){
		"service account key": func(w *garWorld) (string, string, []string) {
			ci := w.g.ServiceAccount(garCI)
			return garAccount(fmt.Sprintf("key = %q", "file:"+w.file("key.json", ci.Key()))), ci.Member(), nil
		},
		"key in a variable of the caller, in base64": func(w *garWorld) (string, string, []string) {
			ci := w.g.ServiceAccount(garCI)
			return garAccount(`key = "env:GOOGLE_KEY"`), ci.Member(), []string{"GOOGLE_KEY=" + base64.StdEncoding.EncodeToString(ci.Key())}
		},
		"impersonation with a lifetime and a delegate": func(w *garWorld) (string, string, []string) {
			ci, hop := w.g.ServiceAccount(garCI), w.g.ServiceAccount("hop@acme.iam.gserviceaccount.com")
			hop.AllowImpersonation(ci.Member())
			deploy := w.g.ServiceAccount(garDeploy).AllowImpersonation(hop.Member())
			return garAccount(fmt.Sprintf("key = %q", "file:"+w.file("key.json", ci.Key())), fmt.Sprintf("service_account = %q", garDeploy),
				fmt.Sprintf("delegates = [%q]", hop.Email), `lifetime = "15m"`), deploy.Member(), nil
		},
		"GitHub Actions": func(w *garWorld) (string, string, []string) {
			p := w.g.Provider(google.WorkloadProvider{Issuer: w.cloud.Issuer(fakecloud.GitHubIssuer).URL, Attributes: map[string]string{"repository": "repository"}})
			r := w.cloud.GitHubRunner("repo:acme/app:ref:refs/heads/main")
			return garAccount(fmt.Sprintf("workload_identity_provider = %q", garResource(p)), `web_identity = "github"`), p.Principal("repo:acme/app:ref:refs/heads/main"),
				[]string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + r.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + r.Token}
		},
		"GitLab CI, impersonating": func(w *garWorld) (string, string, []string) {
			i := w.cloud.Issuer(fakecloud.GitLabIssuer)
			p := w.g.Provider(google.WorkloadProvider{Issuer: i.URL})
			ci := w.g.ServiceAccount(garCI).AllowImpersonation(p.PrincipalSet("*"))
			return garAccount(fmt.Sprintf("workload_identity_provider = %q", garResource(p)), `web_identity = "gitlab"`, fmt.Sprintf("service_account = %q", garCI)), ci.Member(),
				[]string{"GITLAB_OIDC_TOKEN=" + i.Sign("project_path:acme/app", "https:"+p.Audience(), nil)}
		},
		"credentials of google-github-actions/auth": func(w *garWorld) (string, string, []string) {
			p := w.g.Provider(google.WorkloadProvider{Issuer: w.cloud.Issuer(fakecloud.GitHubIssuer).URL})
			ci := w.g.ServiceAccount(garCI).AllowImpersonation(p.PrincipalSet("*"))
			r := w.cloud.GitHubRunner("repo:acme/app:ref:refs/heads/main")
			return "", ci.Member(), []string{"GOOGLE_APPLICATION_CREDENTIALS=" +
				w.file("gha-creds.json", p.Credentials(google.URLSource(r.URL+"&audience="+url.QueryEscape(p.Audience()), r.Token), ci, 0))}
		},
		"metadata server": func(w *garWorld) (string, string, []string) {
			ci := w.g.ServiceAccount(garCI)
			m := w.g.Metadata(google.MetadataOptions{Account: ci})
			return garAccount(`metadata = "default"`, fmt.Sprintf("metadata_endpoint = %q", m.URL)), ci.Member(), nil
		},
		"application-default credentials": func(w *garWorld) (string, string, []string) {
			u := w.g.User("jane@example.com")
			w.file(".config/gcloud/application_default_credentials.json", u.Login())
			return "", u.Member(), nil
		},
		"workforce identity": func(w *garWorld) (string, string, []string) {
			u := w.g.User("jane@example.com")
			return garAccount(fmt.Sprintf("credentials = %q", "file:"+w.file("workforce.json", u.WorkforceLogin()))), u.WorkforceMember(), nil
		},
		"gcloud": func(w *garWorld) (string, string, []string) {
			p := w.g.Gcloud(w.t)
			p.Configure(w.t, w.path(".config/gcloud"), "default", "jane@example.com", "acme", true)
			p.LogIn(w.t, w.path(".config/gcloud"), "jane@example.com")
			w.env["PATH"] = p.Dir + ":" + w.env["PATH"]
			return "", "user:jane@example.com", nil
		},
		"a configuration of gcloud": func(w *garWorld) (string, string, []string) {
			p := w.g.Gcloud(w.t)
			p.Configure(w.t, w.path(".config/gcloud"), "default", "jane@example.com", "acme", true)
			p.Configure(w.t, w.path(".config/gcloud"), "work", "joe@example.com", "acme", false)
			p.LogIn(w.t, w.path(".config/gcloud"), "jane@example.com")
			p.LogIn(w.t, w.path(".config/gcloud"), "joe@example.com")
			w.env["PATH"] = p.Dir + ":" + w.env["PATH"]
			return garAccount(`gcloud_configuration = "work"`), "user:joe@example.com", nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newGAR(t, google.Options{})
			account, member, env := setUp(w)
			if account != "" {
				w.configure(account)
			}
			w.pushesAndPulls(member, env...)
		})
	}
}

func TestTwoTerminalsWithTwoCredentialFilesAreTwoIdentities(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	ci, deploy := w.g.ServiceAccount(garCI), w.g.ServiceAccount(garDeploy)
	w.g.Repository(garImages).Writers(ci.Member()).Readers(deploy.Member())
	one := "GOOGLE_APPLICATION_CREDENTIALS=" + w.file("one.json", ci.Key())
	two := "GOOGLE_APPLICATION_CREDENTIALS=" + w.file("two.json", deploy.Key())
	if err := w.push(garApp, one); err != nil {
		t.Fatal(err)
	}
	if err := w.push(garApp, two); status(err) != http.StatusForbidden {
		t.Errorf("the second terminal pushes: %v", err)
	}
	if err := w.pull(garApp, two); err != nil {
		t.Error(err)
	}
	for env, want := range map[string]string{one: ci.Member(), two: deploy.Member()} {
		if who, _ := w.g.Who(w.mustGet(garHost, env).Secret); who != want {
			t.Errorf("%s is %s, want %s", env, who, want)
		}
	}
	if n := w.cloud.Count(func(r fakecloud.Request) bool { return r.Host == "oauth2.googleapis.com" }); n != 2 {
		t.Errorf("%d tokens for two identities", n)
	}
	// Nobody: public images go on without a login.
	w.g.Repository(garHost + "/acme/public").Readers("allUsers").Writers(ci.Member())
	if err := w.push(garHost+"/acme/public/app:1", one); err != nil {
		t.Fatal(err)
	}
	if a := w.get(garHost); !a.notFound {
		t.Errorf("without an identity: %+v", a)
	}
	if err := w.pull(garHost + "/acme/public/app:1"); err != nil {
		t.Errorf("a public image without a login: %v", err)
	}
}

func TestAColdHerdCostsGoogleOneRequest(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	w.configure(garAccount(fmt.Sprintf("key = %q", "file:"+w.file("key.json", w.g.ServiceAccount(garCI).Key()))))
	w.cloud.Inject(fakecloud.Fault{Host: "oauth2.googleapis.com", Delay: time.Second})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { w.mustGet(garHost) })
	}
	wg.Wait()
	if n := w.cloud.Count(func(r fakecloud.Request) bool { return r.Host == "oauth2.googleapis.com" }); n != 1 {
		t.Errorf("%d requests for 20 gets at once", n)
	}
}

// Another tool logs in again: the next get works.
func TestARenewedGoogleLoginIsSeenAtOnce(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	jane := w.g.User("jane@example.com")
	const adc = ".config/gcloud/application_default_credentials.json"
	w.file(adc, jane.Login())
	jane.Logout()
	if a := w.get(garHost); !strings.Contains(a.failure, "run: gcloud auth application-default login") {
		t.Fatalf("%+v", a)
	}
	w.file(adc, jane.Login())
	var a answer
	w.eventually("the new login is seen", func() bool { a = w.get(garHost); return a.Secret != "" })
	if who, _ := w.g.Who(a.Secret); who != jane.Member() {
		t.Errorf("token of %q", who)
	}
}

// The registry's life goes on while tokens come and go: every one of them ends
// after a few seconds, and the registry accepts none that has ended.
func TestGoogleTokensRotateDuringALongPull(t *testing.T) {
	t.Parallel()
	const life = 16 * time.Second // shorter ones are not used
	w := newGAR(t, google.Options{TokenLife: life})
	ci := w.g.ServiceAccount(garCI)
	w.configure(garAccount(fmt.Sprintf("key = %q", "file:"+w.file("key.json", ci.Key()))))
	w.pushesAndPulls(ci.Member())
	secrets := map[string]bool{}
	for end := time.Now().Add(patience); len(secrets) < 2 && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		inTime(t, life, "a dead token was served", func() error {
			a := w.mustGet(garHost)
			secrets[a.Secret] = true
			if who, _ := w.g.Who(a.Secret); who != ci.Member() {
				return fmt.Errorf("it is of %q", who)
			}
			return w.pull(garApp)
		})
	}
	minted := w.cloud.Count(func(r fakecloud.Request) bool { return r.Host == "oauth2.googleapis.com" })
	if len(secrets) < 2 || minted > 20 {
		t.Errorf("%d tokens seen, %d minted", len(secrets), minted)
	}
}

func TestGoogleTokensThatCannotBeNarrowedAreMarkedWider(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	ci := w.g.ServiceAccount(garCI)
	reader := w.g.ServiceAccount(garReader).AllowImpersonation(ci.Member())
	key := fmt.Sprintf("key = %q", "file:"+w.file("key.json", ci.Key()))
	w.configure(garAccount(key))
	w.g.Repository(garImages).Writers(ci.Member()).Readers(reader.Member())
	w.g.Repository(garHost + "/acme/other").Writers(ci.Member())
	for _, ref := range []string{garApp, garHost + "/acme/other/app:1"} {
		if err := w.push(ref); err != nil {
			t.Fatal(err)
		}
	}
	secretOf := func(m map[string]any) string {
		s, _ := m["password"].(string)
		if s == "" {
			s, _ = m["secret"].(string)
		}
		if s == "" {
			t.Fatalf("no secret in %v", m)
		}
		return s
	}
	// One repository: it cannot push, but it reads the others.
	m := w.jsonGet(garImages + "/app=pull")
	if m["wider"] != true {
		t.Errorf("not marked wider: %v", m)
	}
	if err := w.pushAs(garApp, garUser, secretOf(m)); status(err) != http.StatusForbidden {
		t.Errorf("a token for pulling pushes: %v", err)
	}
	if err := w.pullAs(garHost+"/acme/other/app:1", garUser, secretOf(m)); err != nil {
		t.Errorf("what is said to be wider is not: %v", err)
	}
	if m = w.jsonGet(garHost + "=pull"); m["wider"] == true {
		t.Errorf("pull everywhere is what was asked for: %v", m)
	}
	// By way of a service account of its own it is narrow.
	w.configure(garAccount(key, "[account.narrow_to]", fmt.Sprintf(`"acme/images=pull" = %q`, garReader)))
	m = w.jsonGet(garImages + "/app=pull")
	if m["wider"] == true {
		t.Errorf("narrow_to is marked wider: %v", m)
	}
	if err := w.pullAs(garApp, garUser, secretOf(m)); err != nil {
		t.Error(err)
	}
	for _, ref := range []string{garHost + "/acme/other/app:1"} {
		if err := w.pullAs(ref, garUser, secretOf(m)); status(err) != http.StatusForbidden {
			t.Errorf("%s with the token of acme/images: %v", ref, err)
		}
	}
	if err := w.pushAs(garApp, garUser, secretOf(m)); status(err) != http.StatusForbidden {
		t.Errorf("a token for pulling pushes: %v", err)
	}
	// narrow = "require" refuses what would be wider.
	w.configure(garAccount(key, `narrow = "require"`))
	if r := w.regmint("get", garImages+"/app=pull"); r.code != 7 {
		t.Errorf("narrow = require: %s", r)
	}
}

func TestLookAlikesOfGooglesRegistriesGetNoPacket(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	w.env["GOOGLE_APPLICATION_CREDENTIALS"] = w.file("key.json", w.g.ServiceAccount(garCI).Key())
	for _, h := range []string{
		"gcr.io.evil.example", "evil-gcr.io", "mirror.gcr.io", "k8s.gcr.io", "registry.k8s.io", "europe-docker.pkg.dev.evil.example", "europe-west1-npm.pkg.dev",
		"xdocker.pkg.dev", "docker.evil.rep.pkg.dev.example", "a.europe-docker.pkg.dev", "europe-docker.pkg.dev:8443", "gcr.io:5000",
	} {
		if a := w.get(h); !a.notFound {
			t.Errorf("%s: %+v", h, a)
		}
	}
	if got := w.cloud.Reached(); len(got) != 0 {
		t.Errorf("reached %q", got)
	}
	// A file from somebody else is sent nowhere either.
	evil := strings.Replace(string(w.g.ServiceAccount(garCI).Key()), google.TokenURI, "https://oauth2.googleapis.com.evil.example/token", 1)
	if a := w.get(garHost, "GOOGLE_APPLICATION_CREDENTIALS="+w.write("evil.json", evil)); !strings.Contains(a.failure, "not Google's") {
		t.Errorf("%+v", a)
	}
	if got := w.cloud.Reached(); len(got) != 0 {
		t.Errorf("reached %q", got)
	}
}

// A metadata server repeats a token until little of it is left.
func TestShortAndRepeatedMetadataTokensDoNotLoop(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	ci := w.g.ServiceAccount(garCI)
	m := w.g.Metadata(google.MetadataOptions{Account: ci, Life: 5 * time.Minute, RenewAt: time.Second})
	first := func() int {
		w.configure(garAccount(`metadata = "default"`, fmt.Sprintf("metadata_endpoint = %q", m.URL)))
		begin := w.cloud.Count(func(r fakecloud.Request) bool { return r.Host == "metadata" })
		for range 40 {
			if who, _ := w.g.Who(w.mustGet(garHost).Secret); who != ci.Member() {
				t.Fatalf("token of %q", who)
			}
		}
		return w.cloud.Count(func(r fakecloud.Request) bool { return r.Host == "metadata" }) - begin
	}
	if n := first(); n != 1 {
		t.Errorf("%d requests for 40 gets of a token of 5 min", n)
	}
	w.cloud.Advance(3*time.Minute + 30*time.Second) // the same token, 90 s left
	if n := first(); n > 2 {
		t.Errorf("%d requests for 40 gets of a token with 90 s left", n)
	}
	if n := m.Minted(); n != 1 {
		t.Errorf("%d tokens made", n)
	}
}

// Key files as passwords are logins of any registry's.
func TestKeyFilesWorkAsSavedLogins(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	ci := w.g.ServiceAccount(garCI)
	w.g.Repository(garImages).Writers(ci.Member())
	for user, secret := range map[string]string{"_json_key": string(ci.Key()), "_json_key_base64": base64.StdEncoding.EncodeToString(ci.Key())} {
		if r := w.feed(secret, "regmint", "login", garHost, "-u", user, "--password-stdin"); r.code != 0 {
			t.Fatalf("login as %s: %s", user, r)
		}
		w.pushPull(garApp)
		if a := w.mustGet(garHost); a.Username != user {
			t.Errorf("user %q", a.Username)
		}
		w.must("regmint", "logout", garHost)
	}
}

func TestLoginAtGooglesRegistries(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	w.g.Repository(garImages).Writers("user:jane@example.com")
	r := w.regmint("login", garHost)
	if r.code != 4 || !strings.Contains(r.err, "gcloud auth login") {
		t.Errorf("without an identity: %s", r)
	}
	p := w.g.Gcloud(t)
	w.env["PATH"] = p.Dir + ":" + w.env["PATH"]
	p.Configure(t, w.path(".config/gcloud"), "default", "jane@example.com", "acme", true)
	p.LogIn(t, w.path(".config/gcloud"), "jane@example.com")
	w.configure() // the agent looks programs up in the PATH it began with
	r = w.regmint("login", garHost)
	if r.code != 0 || !strings.Contains(r.out+r.err, "jane@example.com") {
		t.Errorf("login: %s", r)
	}
	w.pushPull(garApp)
	if _, err := os.Stat(w.path(".config/regmint/config.d/regmint.toml")); err == nil && strings.Contains(w.read(".config/regmint/config.d/regmint.toml"), "gcloud") {
		t.Error("the active configuration was written down")
	}
	m := w.jsonGet(garImages+"/app=delete", "--native")
	if !strings.Contains(fmt.Sprint(m), "CLOUDSDK_AUTH_ACCESS_TOKEN") && !strings.Contains(fmt.Sprint(m), garUser) {
		t.Errorf("native: %v", m)
	}
}

// Failures of Google are failures, in a line that says what to do; a token that
// lives is served all the same.
func TestGooglesRefusalsReachTheClientAsOneLine(t *testing.T) {
	t.Parallel()
	w := newGAR(t, google.Options{})
	ci := w.g.ServiceAccount(garCI)
	w.configure(garAccount(fmt.Sprintf("key = %q", "file:"+w.file("key.json", ci.Key()))))
	w.cloud.Inject(fakecloud.Fault{Host: "oauth2.googleapis.com", Status: 503, Body: "busy"})
	if a := w.get(garHost); !strings.Contains(a.failure, "HTTP 503") {
		t.Errorf("%+v", a)
	}
	w.cloud.ClearFaults()
	good := w.mustGet(garHost)
	w.cloud.Inject(fakecloud.Fault{Host: "oauth2.googleapis.com", Status: 500, Body: "down"})
	if a := w.mustGet(garHost); a.Secret != good.Secret {
		t.Error("a living token was given up")
	}
	w.cloud.ClearFaults()
	ci.DeleteKeys()
	w.g.ServiceAccount(garDeploy)
	w.configure(garAccount(fmt.Sprintf("key = %q", "file:"+w.path("key.json")), fmt.Sprintf("service_account = %q", garDeploy)))
	if a := w.get(garHost); !strings.Contains(a.failure, "has no such key") {
		t.Errorf("%+v", a)
	}
	w.file("key.json", ci.Key()) // another key: the very next get works, but for the impersonation
	w.eventually("the new key is read", func() bool {
		return strings.Contains(w.get(garHost).failure, "iam.serviceAccounts.getAccessToken denied")
	})
}
