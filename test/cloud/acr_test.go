// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// azureRig is a tenant with a registry and an application that may push to it.
type azureRig struct {
	cloud  *fakecloud.Cloud
	az     *azure.Azure
	tenant *azure.Tenant
	reg    *azure.Registry
	app    *azure.Principal
	secret string
}

func newAzure(t *testing.T) azureRig {
	t.Helper()
	cloud := fakecloud.Start(t)
	r := azureRig{cloud: cloud, az: azure.New(cloud, azure.Options{})}
	r.tenant = r.az.Tenant(azure.Public, "contoso.onmicrosoft.com")
	r.reg = r.tenant.Registry("acmeregistry")
	r.app = r.tenant.App("ci")
	r.secret = r.app.AddSecret(0)
	r.reg.Assign(r.app, azure.AcrPush)
	return r
}

// account is the text of an account of the registry with more keys.
func (r azureRig) account(keys ...string) string {
	return fmt.Sprintf("[[account]]\nname = \"acme\"\nprovider = \"acr\"\nhosts = [%q]\n", r.reg.Host) + strings.Join(keys, "\n") + "\n"
}

func (r azureRig) ids(p *azure.Principal) string {
	return fmt.Sprintf("tenant_id = %q\nclient_id = %q", r.tenant.ID, p.ClientID)
}

// principal is the caller's variables of an application.
func (r azureRig) principal(p *azure.Principal, more ...string) []string {
	return append([]string{"AZURE_TENANT_ID=" + r.tenant.ID, "AZURE_CLIENT_ID=" + p.ClientID}, more...)
}

// who are those that the registry let through.
func (r azureRig) who() []string {
	var out []string
	for _, d := range r.az.Images.Done() {
		if !slices.Contains(out, d.Who) {
			out = append(out, d.Who)
		}
	}
	return out
}

func (r azureRig) exchanges() int {
	return r.cloud.Count(func(q fakecloud.Request) bool { return q.Path == "/oauth2/exchange" })
}

const azureSubject = "repo:acme/app:ref:refs/heads/main"

func TestEachAzureIdentityPushesAndPulls(t *testing.T) {
	const audience = "api://AzureADTokenExchange"
	type setup struct {
		account string   // "" = recognised by the host alone
		env     []string // of the caller
	}
	for name, prepare := range map[string]func(r azureRig, w *world) setup{
		"secret": func(r azureRig, w *world) setup {
			return setup{account: r.account(r.ids(r.app), fmt.Sprintf("client_secret = %q", "file:"+w.write("secret", r.secret+"\n")))}
		},
		"certificate": func(r azureRig, w *world) setup {
			return setup{account: r.account(r.ids(r.app), fmt.Sprintf("certificate = %q", "file:"+w.write("app.pem", string(r.app.AddCertificate().PEM))))}
		},
		"GitHub Actions": func(r azureRig, _ *world) setup {
			r.app.Federate(azure.Federation{Issuer: fakecloud.GitHubIssuer, Subject: azureSubject})
			runner := r.cloud.GitHubRunner(azureSubject)
			return setup{account: r.account(r.ids(r.app), `identity = "github"`), env: []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + runner.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + runner.Token}}
		},
		"GitHub Actions, recognised": func(r azureRig, _ *world) setup {
			r.app.Federate(azure.Federation{Issuer: fakecloud.GitHubIssuer, Subject: azureSubject})
			runner := r.cloud.GitHubRunner(azureSubject)
			return setup{env: r.principal(r.app, "ACTIONS_ID_TOKEN_REQUEST_URL="+runner.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN="+runner.Token)}
		},
		"GitLab": func(r azureRig, _ *world) setup {
			r.app.Federate(azure.Federation{Issuer: fakecloud.GitLabIssuer, Subject: "project_path:acme/app"})
			token := r.cloud.Issuer(fakecloud.GitLabIssuer).Sign("project_path:acme/app", audience, nil)
			return setup{account: r.account(r.ids(r.app), `identity = "gitlab"`), env: []string{"GITLAB_OIDC_TOKEN=" + token}}
		},
		"AKS workload identity, recognised": func(r azureRig, w *world) setup {
			r.app.Federate(azure.Federation{Issuer: fakecloud.EKSIssuer, Subject: "system:serviceaccount:ci:build"})
			token := r.cloud.Issuer(fakecloud.EKSIssuer).Sign("system:serviceaccount:ci:build", audience, nil)
			return setup{env: r.principal(r.app, "AZURE_FEDERATED_TOKEN_FILE="+w.write("token", token))}
		},
		"AKS workload identity": func(r azureRig, w *world) setup {
			r.app.Federate(azure.Federation{Issuer: fakecloud.EKSIssuer, Subject: "system:serviceaccount:ci:build"})
			token := r.cloud.Issuer(fakecloud.EKSIssuer).Sign("system:serviceaccount:ci:build", audience, nil)
			return setup{account: r.account(`identity = "workload"`), env: r.principal(r.app, "AZURE_FEDERATED_TOKEN_FILE="+w.write("token", token))}
		},
		"environment, recognised": func(r azureRig, _ *world) setup {
			return setup{env: r.principal(r.app, "AZURE_CLIENT_SECRET="+r.secret)}
		},
		"environment": func(r azureRig, _ *world) setup {
			return setup{account: r.account(`identity = "environment"`), env: r.principal(r.app, "AZURE_CLIENT_SECRET="+r.secret)}
		},
		"managed identity": func(r azureRig, _ *world) setup {
			own, other := r.tenant.ManagedIdentity("own"), r.tenant.ManagedIdentity("other")
			r.reg.Assign(other, azure.AcrPush)
			vm := r.az.Machine("vm", own, other)
			return setup{account: r.account(`identity = "managed"`, fmt.Sprintf("metadata_endpoint = %q\nclient_id = %q", vm.IMDS, other.ClientID))}
		},
		"App Service": func(r azureRig, w *world) setup {
			own := r.tenant.ManagedIdentity("own")
			r.reg.Assign(own, azure.AcrPush)
			vm := r.az.Machine("site", own)
			return setup{account: r.account(fmt.Sprintf("metadata_endpoint = %q\nmetadata_header = \"env:IDENTITY_HEADER\"", vm.IdentityEndpoint)), env: []string{"IDENTITY_HEADER=" + vm.IdentityHeader}}
		},
		"az, recognised": func(r azureRig, w *world) setup {
			jane := r.tenant.User("jane@contoso.example")
			r.reg.Assign(jane, azure.AcrPush)
			azIn(w, r)
			return setup{env: []string{"AZURE_CONFIG_DIR=" + azLogin(w, r, "jane", jane)}}
		},
		"az": func(r azureRig, w *world) setup {
			jane := r.tenant.User("jane@contoso.example")
			r.reg.Assign(jane, azure.AcrPush)
			azIn(w, r)
			azLogin(w, r, ".azure", jane)
			return setup{account: r.account(`identity = "az"`)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAzure(t)
			w := newWorld(t, r.cloud)
			s := prepare(r, w)
			if s.account != "" {
				w.configure(s.account)
			}
			w.pushPull(r.reg.Host+"/team/app:1", s.env...)
			if who := r.who(); len(who) != 1 {
				t.Errorf("the registry let through %q", who)
			}
			if a := w.mustGet(r.reg.Host, s.env...); a.Username != azure.NullGUID {
				t.Errorf("user %q", a.Username)
			}
		})
	}
}

// azIn puts the fake az on the person's PATH.
func azIn(w *world, r azureRig) *azure.CLI {
	w.t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		w.t.Skip("no bash: apt-get install bash")
	}
	cli := r.az.CLI(w.t)
	w.program("az", fmt.Sprintf("exec %q \"$@\"", cli.Path))
	return cli
}

// azLogin logs az in below HOME and returns its configuration directory.
func azLogin(w *world, r azureRig, dir string, who *azure.Principal) string {
	w.t.Helper()
	if err := r.az.CLI(w.t).Login(w.path(dir), who, azure.Subscription{Name: "main", Tenant: r.tenant}); err != nil {
		w.t.Fatal(err)
	}
	return w.path(dir)
}

func TestAzureTokensRotateDuringALongPull(t *testing.T) {
	t.Parallel()
	r := newAzure(t)
	const life = 5 * time.Second
	r.az.Set(func(o *azure.Options) { o.RefreshLife, o.AccessLife = life, life })
	w := newWorld(t, r.cloud)
	w.configure(r.account(r.ids(r.app), fmt.Sprintf("client_secret = %q", "file:"+w.write("secret", r.secret))))
	ref := r.reg.Host + "/team/app:1"
	inTime(t, life, "push", func() error { return w.push(ref) })
	seen := map[string]bool{}
	for end := time.Now().Add(patience); len(seen) < 3 && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		inTime(t, life, "a dead token was served", func() error {
			a := w.mustGet(r.reg.Host)
			seen[a.Secret] = true
			return w.pullAs(ref, a.Username, a.Secret)
		})
	}
	if len(seen) < 3 || r.exchanges() > 20 {
		t.Errorf("%d tokens, %d exchanges", len(seen), r.exchanges())
	}
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == azure.Public.Authority }); n != 1 {
		t.Errorf("%d requests to Entra", n)
	}
}

func TestAzureTargetsNarrowAtTheRegistry(t *testing.T) {
	r := newAzure(t)
	w := newWorld(t, r.cloud)
	w.configure(r.account(r.ids(r.app), fmt.Sprintf("client_secret = %q", "file:"+w.write("secret", r.secret))))
	one, two := r.reg.Host+"/team/app:1", r.reg.Host+"/team/other:1"
	w.pushPull(one)
	w.pushPull(two)
	got := w.jsonGet(r.reg.Host + "/team/app=pull")
	user, secret := fmt.Sprint(got["username"]), fmt.Sprint(got["secret"])
	if got["wider"] == true || user != azure.NullGUID {
		t.Errorf("%v", got["wider"])
	}
	if err := w.pullAs(one, user, secret); err != nil {
		t.Errorf("pull: %v", err)
	}
	for what, err := range map[string]error{
		"push where pull was asked for": w.pushAs(one, user, secret),
		"push elsewhere":                w.pushAs(two, user, secret),
		"pull elsewhere":                w.pullAs(two, user, secret),
	} {
		if s := status(err); s != http.StatusUnauthorized && s != http.StatusForbidden {
			t.Errorf("%s: %v", what, err)
		}
	}
	got = w.jsonGet(r.reg.Host + "/team/app=push")
	if err := w.pushAs(one, fmt.Sprint(got["username"]), fmt.Sprint(got["secret"])); err != nil {
		t.Errorf("push: %v", err)
	}
	if got := w.jsonGet(r.reg.Host + "=pull"); got["wider"] != true {
		t.Errorf("every repository cannot be narrowed to, but wider is %v", got["wider"])
	}
	// Inside a job docker and crane get the narrowed token.
	if out := w.with(w.craneEnv()...).must("regmint", "run", "-q", "-r", r.reg.Host+"/team/app=pull", "--", "crane", "digest", one); !strings.HasPrefix(out, "sha256:") {
		t.Errorf("crane says %q", out)
	}
	if x := w.with(w.craneEnv()...).run("regmint", "run", "-q", "-r", r.reg.Host+"/team/app=pull", "--", "crane", "copy", one, two); x.code == 0 {
		t.Error("a job for pull pushed elsewhere")
	}
	if x := w.regmint("get", r.reg.Host+"/team/app=delete"); x.code != 7 || !strings.Contains(x.err, "AcrDelete") {
		t.Errorf("delete without the role: %s", x)
	}
}

func TestAzureNativeTokensCleanUp(t *testing.T) {
	r := newAzure(t)
	r.reg.Assign(r.app, azure.AcrDelete)
	w := newWorld(t, r.cloud)
	w.configure(r.account(r.ids(r.app), fmt.Sprintf("client_secret = %q", "file:"+w.write("secret", r.secret))))
	w.pushPull(r.reg.Host + "/team/app:1")
	token := strings.TrimSpace(w.must("regmint", "get", r.reg.Host+"/team/app=pull,delete", "--native", "--format", "bare"))
	catalog := strings.TrimSpace(w.must("regmint", "get", r.reg.Host, "--native", "--format", "bare"))
	for _, tc := range []struct {
		method, path string
		want         int
	}{
		{http.MethodGet, "/acr/v1/_catalog", 200},
		{http.MethodGet, "/acr/v1/team%2Fapp/_tags", 200},
		{http.MethodDelete, "/acr/v1/team%2Fother", 401},
		{http.MethodDelete, "/acr/v1/team%2Fapp/_tags/1", 202},
		{http.MethodDelete, "/acr/v1/team%2Fapp", 202},
	} {
		q, err := http.NewRequestWithContext(t.Context(), tc.method, "https://"+r.reg.Host+tc.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer "+token)
		if strings.HasSuffix(tc.path, "_catalog") {
			q.Header.Set("Authorization", "Bearer "+catalog)
		}
		res, err := r.cloud.Client().Do(q)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != tc.want {
			t.Errorf("%s %s: %s", tc.method, tc.path, res.Status)
		}
	}
}

func TestNoPacketLeavesForAzureLookAlikes(t *testing.T) {
	r := newAzure(t)
	w := newWorld(t, r.cloud)
	env := r.principal(r.app, "AZURE_CLIENT_SECRET="+r.secret)
	for _, host := range []string{
		r.reg.Host + ".attacker.example", "xazurecr.io", "azurecr.io", "a.b.azurecr.io", "acmeregistry.azurecr.io.attacker.example:443", "evil.azurecr.io.attacker.com",
		"acmeregistry.eastus.data.azurecr.io", "mcr.microsoft.com", "acmeregistry.azurecr.io:8443", "acmeregistry-azurecr.io",
	} {
		if a := w.get(host, env...); !a.notFound {
			t.Errorf("%s: %+v", host, a)
		}
	}
	if got := r.cloud.Reached(); len(got) != 0 {
		t.Errorf("reached %q", got)
	}
}

func TestALoginOfAzThatAnotherToolRenewsWorksAtTheNextGet(t *testing.T) {
	r := newAzure(t)
	w := newWorld(t, r.cloud)
	cli := azIn(w, r)
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPull)
	azLogin(w, r, ".azure", jane)
	if err := cli.Expire(w.path(".azure")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if a := w.get(r.reg.Host); !strings.Contains(a.failure, "az login") {
			t.Errorf("%+v", a)
		}
	}
	azLogin(w, r, ".azure", jane)
	w.eventually("the watcher sees the new login", func() bool { return w.get(r.reg.Host).Secret != "" })
}

func TestTwoTerminalsAreTwoAzureIdentities(t *testing.T) {
	r := newAzure(t)
	w := newWorld(t, r.cloud)
	azIn(w, r)
	jane, joe := r.tenant.User("jane@contoso.example"), r.tenant.User("joe@contoso.example")
	r.reg.Assign(jane, azure.AcrPush)
	r.reg.Assign(joe, azure.AcrPull)
	one, two := "AZURE_CONFIG_DIR="+azLogin(w, r, "jane", jane), "AZURE_CONFIG_DIR="+azLogin(w, r, "joe", joe)
	w.pushPull(r.reg.Host+"/team/app:1", one)
	if err := w.pull(r.reg.Host+"/team/app:1", two); err != nil {
		t.Error(err)
	}
	if err := w.push(r.reg.Host+"/team/app:2", two); status(err) != http.StatusUnauthorized && status(err) != http.StatusForbidden {
		t.Errorf("joe pushed: %v", err)
	}
	if who := r.who(); !slices.Contains(who, jane.Name) || !slices.Contains(who, joe.Name) {
		t.Errorf("the registry saw %q", who)
	}
}

func TestManyColdGetsAreOneExchange(t *testing.T) {
	r := newAzure(t)
	w := newWorld(t, r.cloud)
	w.configure(r.account(r.ids(r.app), fmt.Sprintf("client_secret = %q", "file:"+w.write("secret", r.secret))))
	w.regmint("agent", "start")
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/oauth2/exchange", Times: 1, Delay: 300 * time.Millisecond})
	var wg sync.WaitGroup
	for range 60 {
		wg.Go(func() { w.mustGet(r.reg.Host) })
	}
	wg.Wait()
	if n := r.exchanges(); n != 1 {
		t.Errorf("%d exchanges", n)
	}
}

func TestWithoutAnAzureIdentityAPublicImageIsPulled(t *testing.T) {
	r := newAzure(t)
	w := newWorld(t, r.cloud)
	ref := r.reg.Host + "/team/app:1"
	w.pushPull(ref, r.principal(r.app, "AZURE_CLIENT_SECRET="+r.secret)...)
	r.reg.AnonymousPull(true)
	if a := w.get(r.reg.Host); !a.notFound {
		t.Errorf("%+v", a)
	}
	if err := w.pull(ref); err != nil {
		t.Error(err)
	}
}

func TestALivingAzureTokenIsServedWhileAzureFails(t *testing.T) {
	t.Parallel()
	r := newAzure(t)
	r.az.Set(func(o *azure.Options) { o.RefreshLife = 10 * time.Second })
	w := newWorld(t, r.cloud)
	w.configure(r.account(r.ids(r.app), fmt.Sprintf("client_secret = %q", "file:"+w.write("secret", r.secret))))
	ref := r.reg.Host + "/team/app:1"
	w.pushPull(ref)
	r.cloud.Inject(fakecloud.Fault{Host: r.reg.Host, Path: "/oauth2/exchange", Status: http.StatusServiceUnavailable})
	first := w.mustGet(r.reg.Host)
	failures := func() int {
		return r.cloud.Count(func(q fakecloud.Request) bool {
			return q.Path == "/oauth2/exchange" && q.Status == http.StatusServiceUnavailable
		})
	}
	w.eventually("a renewal is tried, and the living token served", func() bool {
		a := w.get(r.reg.Host)
		return failures() > 0 && a.Secret == first.Secret
	})
	var last answer
	w.eventually("the token is over and the failure is told", func() bool {
		last = w.get(r.reg.Host)
		return last.failure != ""
	})
	if !strings.Contains(last.failure, "HTTP 503") {
		t.Errorf("%+v", last)
	}
	r.cloud.ClearFaults()
	w.eventually("Azure is back", func() bool { return w.get(r.reg.Host).Secret != "" })
	if err := w.pull(ref); err != nil {
		t.Error(err)
	}
}
