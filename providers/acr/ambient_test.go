// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// withAz runs the fake az as the agent would.
func (r *rig) withAz(cli *azure.CLI) {
	r.runs(func(ctx context.Context, c providers.Command) ([]byte, error) {
		if c.Path != "az" {
			return nil, &providers.Error{Kind: providers.Misconfigured, Err: fs.ErrNotExist}
		}
		cmd := exec.CommandContext(ctx, cli.Path, c.Args...)
		cmd.Env = append([]string{"HOME=" + r.deps.Home}, c.Env...)
		var stderr strings.Builder
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			line, _, _ := strings.Cut(stderr.String(), "\n")
			return nil, &providers.Error{Kind: providers.Unavailable, Err: fmt.Errorf("az failed: %w: %s", err, line)}
		}
		return out, nil
	})
}

func needBash(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash: apt-get install bash")
	}
}

func TestWithoutAnyIdentityAPublicPullGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	silent := Options{MetadataEndpoint: "http://127.0.0.1:9"} // discard: nobody listens
	s := r.open(silent, ambientLayer)
	for range 3 {
		_, err := r.mint(s)
		r.fails(err, providers.NoAccount, "no Azure identity", "az is not installed", "no machine of Azure")
	}
	if n := len(r.cloud.Reached()); n != 0 {
		t.Errorf("reached %v", r.cloud.Reached())
	}
	_, err := r.mint(r.open(silent))
	r.fails(err, providers.LoginRequired, "az login")
}

func TestAMachineOfAnotherCloudIsAskedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := r.cloud.Plain("ec2", notAzure{})
	for range 3 {
		_, err := r.mint(r.open(Options{MetadataEndpoint: url}, ambientLayer))
		r.fails(err, providers.NoAccount)
	}
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == "ec2" }); n != 1 {
		t.Errorf("%d requests", n)
	}
	r.cloud.Advance(2 * time.Hour)
	_, _ = r.mint(r.open(Options{MetadataEndpoint: url}, ambientLayer))
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == "ec2" }); n != 2 {
		t.Errorf("%d requests", n)
	}
}

func TestAMetadataServiceThatHangsCostsASecondOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := r.cloud.Plain("hung", notAzure{})
	r.cloud.Inject(fakecloud.Fault{Host: "hung", Hang: true})
	done := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := r.mint(r.open(Options{MetadataEndpoint: url}, ambientLayer))
			done <- err
		}()
	}
	for range 3 {
		select {
		case err := <-done:
			r.fails(err, providers.NoAccount)
		case <-time.After(30 * time.Second):
			t.Fatal("still waiting")
		}
	}
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == "hung" }); n > 1 {
		t.Errorf("%d requests", n)
	}
}

func TestTheCallersVariablesChooseTheIdentity(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.app.Federate(azure.Federation{Issuer: fakecloud.GitHubIssuer, Subject: subject})
	runner := r.cloud.GitHubRunner(subject)
	assertion := r.file("assertion", "")
	github := r.cloud.Issuer(fakecloud.GitHubIssuer)
	pem := r.file("app.pem", string(r.app.AddCertificate().PEM))
	r.secrets["file:"+assertion] = github.Sign(subject, defaultWebAudience, nil)
	vm := r.az.Machine("vm", nil, func() *azure.Principal {
		p := r.tenant.ManagedIdentity("assigned")
		r.reg.Assign(p, azure.AcrPull)
		return p
	}())
	for name, tc := range map[string]struct {
		env map[string]string
		o   Options
	}{
		"secret":      {env: map[string]string{envSecret: r.secret}},
		"certificate": {env: map[string]string{envCert: pem}},
		"token file":  {env: map[string]string{envTokenFile: assertion}},
		"github":      {env: map[string]string{"ACTIONS_ID_TOKEN_REQUEST_URL": runner.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": runner.Token}},
		"a secret before the rest, a foreign authority ignored": {env: map[string]string{envSecret: r.secret, envTokenFile: "/nowhere", envAuthority: "https://login.attacker.example"}},
		"machine": {env: map[string]string{envTenant: "", envClient: ""}, o: Options{MetadataEndpoint: vm.IMDS}},
	} {
		t.Run(name, func(t *testing.T) {
			sub := *r
			sub.t = t
			sub.deps.Env = map[string]string{envTenant: r.tenant.ID, envClient: r.app.ClientID}
			for k, v := range tc.env {
				sub.deps.Env[k] = v
			}
			sub.works(sub.open(tc.o, ambientLayer))
		})
	}
	r.deps.Env = map[string]string{envTenant: r.tenant.ID, envClient: r.app.ClientID, envSecret: "wrong-secret-value-1234567"}
	_, err := r.mint(r.open(Options{MetadataEndpoint: vm.IMDS}, ambientLayer))
	r.fails(err, providers.LoginRequired, "AADSTS7000215", envSecret) // never the machine's in its place
	r.deps.Env = map[string]string{envSecret: r.secret}
	_, err = r.mint(r.open(Options{MetadataEndpoint: "http://127.0.0.1:9"}, ambientLayer))
	r.fails(err, providers.NoAccount, envTenant+" or "+envClient+" is not set")
	r.deps.Env[envTenant] = `x" & calc`
	_, err = r.mint(r.open(Options{MetadataEndpoint: "http://127.0.0.1:9"}, ambientLayer))
	r.fails(err, providers.Misconfigured, envTenant)
	r.deps.Env[envClient], r.deps.Env[envTenant] = r.app.ClientID, "../evil"
	_, err = r.mint(r.open(Options{}, ambientLayer))
	r.fails(err, providers.Misconfigured, envTenant)
	for _, h := range r.cloud.Reached() {
		if strings.Contains(h, "attacker") {
			t.Errorf("reached %s", h)
		}
	}
}

func TestALoginOfAzIsUsedAndRenewedByAz(t *testing.T) {
	t.Parallel()
	needBash(t)
	r := newRig(t)
	cli := r.az.CLI(t)
	r.withAz(cli)
	dir := filepath.Join(r.deps.Home, ".azure")
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPull)
	s := r.open(Options{MetadataEndpoint: "http://127.0.0.1:9"}, ambientLayer)
	for range 2 {
		_, err := r.mint(s)
		r.fails(err, providers.NoAccount, "az is not logged in")
	}
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == "az" }); n != 1 {
		t.Errorf("az ran %d times to say that nobody is logged in", n)
	}
	must(t, cli.Login(dir, jane, azure.Subscription{Name: "main", Tenant: r.tenant}))
	c := r.works(s)
	r.works(s)
	if n := r.cloud.Count(func(q fakecloud.Request) bool { return q.Host == "az" }); n != 2 {
		t.Errorf("az ran %d times", n)
	}
	if !strings.Contains(c.Origin, "jane@contoso.example") || !strings.Contains(c.Origin, "az") {
		t.Errorf("origin %q", c.Origin)
	}
	r.cloud.Advance(2 * time.Hour)
	must(t, cli.Expire(dir))
	_, err := r.mint(s)
	r.fails(err, providers.LoginRequired, "AADSTS700082", "az login")
	must(t, cli.Login(dir, jane, azure.Subscription{Name: "main", Tenant: r.tenant}))
	r.works(s)
	joe := r.tenant.User("joe@contoso.example")
	must(t, cli.Login(dir, joe, azure.Subscription{Name: "main", Tenant: r.tenant})) // somebody else: no cached token of jane
	_, err = r.mint(s)
	r.fails(err, providers.Denied, "joe@contoso.example")
	other := t.TempDir()
	must(t, cli.Login(other, jane, azure.Subscription{Name: "main", Tenant: r.tenant}))
	r.works(r.open(Options{AzConfigDir: other}))
	r.deps.Env = map[string]string{envConfigDir: other}
	r.works(r.open(Options{}, ambientLayer))
	r.deps.Env = map[string]string{envConfigDir: "relative"}
	_, err = r.mint(r.open(Options{}, ambientLayer))
	r.fails(err, providers.Misconfigured, envConfigDir)
}

func TestAnotherTenantIsAskedForByAzToo(t *testing.T) {
	t.Parallel()
	needBash(t)
	r := newRig(t)
	cli := r.az.CLI(t)
	r.withAz(cli)
	away := r.az.Tenant(azure.Public, "fabrikam.onmicrosoft.com")
	jane := away.User("jane@fabrikam.example")
	dir := filepath.Join(r.deps.Home, ".azure")
	must(t, cli.Login(dir, jane, azure.Subscription{Name: "away", Tenant: away}))
	_, err := r.mint(r.open(Options{}, ambientLayer))
	r.fails(err, providers.Denied, "jane@fabrikam.example", away.ID, "tenant_id")
	r.tenant.Invite(jane)
	r.reg.Assign(jane, azure.AcrPull)
	r.works(r.open(Options{TenantID: r.tenant.ID}))
	r.deps.Env = map[string]string{envTenant: r.tenant.ID}
	r.works(r.open(Options{}, ambientLayer))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAzThatIsBrokenIsNamed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for text, want := range map[string]string{
		`{"accessToken":"x"`:                          "not JSON",
		`{}`:                                          "holds no token",
		`{"accessToken":"a b","expires_on":1}`:        "holds no token",
		`{"accessToken":"abc","expires_on":1}`:        "already expired",
		`{"accessToken":"abc","expiresOn":"tuesday"}`: "no time",
	} {
		r.runs(func(context.Context, providers.Command) ([]byte, error) { return []byte(text), nil })
		_, err := r.mint(r.open(Options{Identity: identityOf(t, "az")}))
		r.fails(err, providers.Unavailable, want)
	}
	r.runs(func(context.Context, providers.Command) ([]byte, error) {
		return nil, &providers.Error{Kind: providers.Unavailable, Err: errors.New("az did not end within 10s")}
	})
	_, err := r.mint(r.open(Options{Identity: identityOf(t, "az")}))
	r.fails(err, providers.Unavailable, "did not end")
	r.runs(func(context.Context, providers.Command) ([]byte, error) {
		return nil, &providers.Error{Kind: providers.Misconfigured, Err: fmt.Errorf("az: %w", fs.ErrNotExist)}
	})
	_, err = r.mint(r.open(Options{Identity: identityOf(t, "az")}))
	r.fails(err, providers.Misconfigured, "not installed")
}

func (r *rig) person() (*azure.Principal, *source) {
	jane := r.tenant.User("jane@contoso.example")
	r.reg.Assign(jane, azure.AcrPull)
	return jane, r.open(Options{Identity: identityOf(r.t, "device"), TenantID: r.tenant.ID}, func(a *providers.Account) { a.Password = ref(r.t, "keyring:jane") })
}

func TestALostLoginAsksForOne(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, s := r.person()
	_, err := r.mint(s)
	r.fails(err, providers.LoginRequired, "regmint login")
	s = r.open(Options{Identity: identityOf(t, "device")})
	_, err = r.mint(s)
	r.fails(err, providers.LoginRequired, "regmint login")
}
