// SPDX-License-Identifier: Apache-2.0

package gar_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/gar"
	"github.com/regmint/regmint/providers/internal/oidc"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/google"
)

const (
	ciAddress     = "ci@acme.iam.gserviceaccount.com"
	deployAddress = "deploy@acme.iam.gserviceaccount.com"
	hopAddress    = "hop@acme.iam.gserviceaccount.com"
	readerAddress = "reader@acme.iam.gserviceaccount.com"
)

func TestServiceAccountKeyMintsATokenOfAnHour(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	raw := ci.Key()
	for name, b := range map[string][]byte{"as it is": raw, "in base64": []byte(base64.StdEncoding.EncodeToString(raw))} {
		c := w.mint(&gar.Options{Key: w.secret("KEY", b)})
		w.is(c, ci.Member(), google.ScopeCloudPlatform)
		if l := c.Life(); l < 3590*time.Second || l > 3600*time.Second {
			t.Errorf("%s: life %s", name, l)
		}
		if c.Wider || c.Origin != "key of "+ciAddress {
			t.Errorf("%s: %+v", name, c)
		}
	}
	w.is(w.mint(&gar.Options{Credentials: w.secret("KEY", raw)}), ci.Member())
}

// provider is a workload identity provider for GitHub jobs of acme/app.
func (w *world) provider() *google.Provider {
	return w.g.Provider(google.WorkloadProvider{
		Issuer: w.c.Issuer(fakecloud.GitHubIssuer).URL, Attributes: map[string]string{"repository": "repository"},
		Condition: func(claims map[string]any) bool { return claims["repository"] == "acme/app" },
	})
}

// resource is the provider's name as a person writes it.
func resource(p *google.Provider) string {
	return strings.TrimPrefix(p.Audience(), "//iam.googleapis.com/")
}

func (w *world) runner() {
	r := w.c.GitHubRunner("repo:acme/app:ref:refs/heads/main")
	w.secrets["env:"+oidc.GitHubURL], w.secrets["env:"+oidc.GitHubToken] = r.URL, r.Token
}

func TestWorkloadIdentityWithAndWithoutImpersonation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.provider()
	w.runner()
	o := gar.Options{WorkloadIdentityProvider: resource(p), WebIdentity: w.ref("github")}
	w.is(w.mint(&o), p.Principal("repo:acme/app:ref:refs/heads/main"), google.ScopeCloudPlatform)

	ci := w.g.ServiceAccount(ciAddress).AllowImpersonation(p.PrincipalSet("attribute.repository/acme/app"))
	o.ServiceAccount, o.Lifetime = ciAddress, providers.Duration(15*time.Minute)
	c := w.mint(&o)
	w.is(c, ci.Member(), google.ScopeCloudPlatform)
	if l := c.Life(); l > 15*time.Minute || l < 14*time.Minute {
		t.Errorf("life %s, asked for 15m", l)
	}
	for _, form := range []string{p.Audience(), "https:" + p.Audience(), "https://iam.googleapis.com/v1/" + resource(p)} {
		o.WorkloadIdentityProvider = form
		w.is(w.mint(&o), ci.Member())
	}
	// GitLab: the job brings the token; a Kubernetes one is read anew from its file.
	i := w.c.Issuer(fakecloud.GitLabIssuer)
	gl := w.g.Provider(google.WorkloadProvider{Issuer: i.URL, AllowedAudiences: []string{"acme"}})
	w.secret("GITLAB_OIDC_TOKEN", []byte(i.Sign("project_path:acme/app", "acme", nil)))
	w.is(w.mint(&gar.Options{WorkloadIdentityProvider: resource(gl), WebIdentity: w.ref("gitlab"), Audience: "acme"}), gl.Principal("project_path:acme/app"))
}

func TestCredentialsFilesOfEveryType(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci, deploy, hop := w.g.ServiceAccount(ciAddress), w.g.ServiceAccount(deployAddress), w.g.ServiceAccount(hopAddress)
	jane := w.g.User("jane@example.com")
	p := w.provider()
	i := w.c.Issuer(fakecloud.GitHubIssuer)
	r := w.c.GitHubRunner("repo:acme/app:ref:refs/heads/main")
	subject := i.Sign("file-subject", p.Audience(), map[string]any{"repository": "acme/app"})
	text := w.write("token", []byte(subject+"\n"))
	object, _ := json.Marshal(map[string]string{"value": subject})
	inJSON := google.FileSource(w.write("token.json", object))
	inJSON["format"] = map[string]string{"type": "json", "subject_token_field_name": "value"}
	ci.AllowImpersonation(p.PrincipalSet("attribute.repository/acme/app"))
	deploy.AllowImpersonation(ci.Member())
	hop.AllowImpersonation(jane.Member())
	chained := w.g.ServiceAccount("chained@acme.iam.gserviceaccount.com").AllowImpersonation(hop.Member())

	for name, tc := range map[string]struct {
		file []byte
		want string
	}{
		"authorized_user":                   {jane.Login(), jane.Member()},
		"external_account_authorized_user":  {jane.WorkforceLogin(), jane.WorkforceMember()},
		"impersonated_service_account":      {deploy.Impersonated(ci.Key()), deploy.Member()},
		"impersonated by way of a delegate": {chained.Impersonated(jane.Login(), hop), chained.Member()},
		"external_account: file":            {p.Credentials(google.FileSource(text), nil, 0), p.Principal("file-subject")},
		"external_account: JSON in a file":  {p.Credentials(inJSON, nil, 0), p.Principal("file-subject")},
		"external_account: GitHub's runner": {p.Credentials(google.URLSource(r.URL+"&audience="+url.QueryEscape(p.Audience()), r.Token), ci, 900*time.Second), ci.Member()},
	} {
		t.Run(name, func(t *testing.T) {
			c := w.mint(&gar.Options{Credentials: w.secret("CREDENTIALS", tc.file)})
			w.is(c, tc.want)
			if name == "external_account: GitHub's runner" && c.Life() > 15*time.Minute {
				t.Errorf("life %s, the file asks for 15m", c.Life())
			}
		})
	}
	// service_account goes on top of any of them, by way of delegates.
	hop.AllowImpersonation(ci.Member())
	w.is(w.mint(&gar.Options{Key: w.secret("KEY", ci.Key()), ServiceAccount: chained.Email, Delegates: []string{hopAddress}}), chained.Member())
}

func TestExecutablesAndURLsNeedTheAccountsWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.provider()
	i := w.c.Issuer(fakecloud.GitHubIssuer)
	subject := i.Sign("program-subject", p.Audience(), map[string]any{"repository": "acme/app"})
	ran := 0
	w.deps.Run = func(_ context.Context, c providers.Command) ([]byte, error) {
		ran++
		if c.Path != "/opt/identity" || len(c.Args) != 1 || !strings.Contains(strings.Join(c.Env, "\n"), "GOOGLE_EXTERNAL_ACCOUNT_AUDIENCE="+p.Audience()) {
			return nil, errors.New("called in another way")
		}
		return json.Marshal(map[string]any{"version": 1, "success": true, "token_type": "urn:ietf:params:oauth:token-type:id_token", "id_token": subject, "expiration_time": w.c.Now().Add(time.Minute).Unix()})
	}
	program := p.Credentials(map[string]any{"executable": map[string]any{"command": "/opt/identity --now", "timeout_millis": 5000}}, nil, 0)
	w.refused(&gar.Options{Credentials: w.secret("C", program)}, providers.Misconfigured, "env:C", "allow_executable = true")
	if ran != 0 {
		t.Fatal("the program was run")
	}
	w.is(w.mint(&gar.Options{Credentials: w.secret("C", program), AllowExecutable: true}), p.Principal("program-subject"))

	asked := 0
	w.c.Handle("tokens.corp.example", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked++
		if r.Header.Get("X-Key") != "k" {
			rw.WriteHeader(http.StatusForbidden)
		}
		_, _ = rw.Write([]byte(subject))
	}))
	fetched := p.Credentials(map[string]any{"url": "https://tokens.corp.example/t", "headers": map[string]string{"X-Key": "k"}}, nil, 0)
	w.refused(&gar.Options{Credentials: w.secret("C", fetched)}, providers.Misconfigured, "tokens.corp.example", "allow_url = true")
	if w.reached("tokens.corp.example") {
		t.Error("the URL was asked")
	}
	w.is(w.mint(&gar.Options{Credentials: w.secret("C", fetched), AllowURL: true}), p.Principal("program-subject"))

	// What a job brings is never allowed more.
	w.layer = providers.LayerAmbient
	for _, f := range [][]byte{program, fetched} {
		w.deps.Env = map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": w.write("wif.json", f)}
		w.refused(nil, providers.Misconfigured, "and allow_")
	}
}

// A file from a job must not choose who gets identity tokens, keys and tokens.
func TestCredentialsFromElsewhereSendNothingElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ci := w.g.ServiceAccount(ciAddress)
	p := w.provider()
	token := w.write("token", []byte(w.c.Issuer(fakecloud.GitHubIssuer).Sign("s", p.Audience(), map[string]any{"repository": "acme/app"})))
	good := map[string][]byte{
		"key":          ci.Key(),
		"user":         w.g.User("jane@example.com").Login(),
		"federated":    p.Credentials(google.FileSource(token), ci, 0),
		"impersonated": ci.Impersonated(ci.Key()),
	}
	for _, evil := range []string{"evil.example", "sts.googleapis.com.evil.example", "oauth2.evil-googleapis.com", "storage.googleapis.com", "iamcredentials.googleapis.com:8443"} {
		w.c.Handle(strings.Split(evil, ":")[0], http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a packet arrived at " + evil) }))
		for key, in := range map[string]string{"token_uri": "key", "token_uri ": "user", "token_url": "federated", "service_account_impersonation_url": "federated", "service_account_impersonation_url ": "impersonated"} {
			var m map[string]any
			if err := json.Unmarshal(good[in], &m); err != nil {
				t.Fatal(err)
			}
			key = strings.TrimSpace(key)
			m[key] = "https://" + evil + "/v1/projects/-/serviceAccounts/" + ciAddress + ":generateAccessToken"
			b, _ := json.Marshal(m)
			w.refused(&gar.Options{Credentials: w.secret("C", b)}, providers.Misconfigured, "its "+key+" is not Google's")
		}
	}
	var m map[string]any
	_ = json.Unmarshal(good["key"], &m)
	m["token_uri"] = "http://oauth2.googleapis.com/token"
	b, _ := json.Marshal(m)
	w.refused(&gar.Options{Credentials: w.secret("C", b)}, providers.Misconfigured, "not Google's")
	m["universe_domain"] = "evil.example"
	b, _ = json.Marshal(m)
	w.refused(&gar.Options{Credentials: w.secret("C", b)}, providers.Misconfigured, "universe evil.example; set universe_domain")
	if got := w.c.Reached(); len(got) != 0 {
		t.Errorf("reached %q", got)
	}
	// An override is the account's own word.
	var asked bool
	w.c.Handle("oauth.corp.example", http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		asked = true
		fakecloud.WriteJSON(rw, 200, map[string]any{"access_token": "corp", "expires_in": 3599, "token_type": "Bearer"})
	}))
	w.mint(&gar.Options{Key: w.secret("K", good["key"]), TokenEndpoint: "https://oauth.corp.example/token"})
	if !asked {
		t.Error("token_endpoint was not asked")
	}
}
