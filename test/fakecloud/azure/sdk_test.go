// SPDX-License-Identifier: Apache-2.0

package azure_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/containers/azcontainerregistry"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// world is a directory with a registry that has one image, team/app:v1.
type world struct {
	c      *fakecloud.Cloud
	az     *azure.Azure
	tenant *azure.Tenant
	reg    *azure.Registry
	pusher *azure.Principal
	secret string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldIn(t, azure.Public)
}

func worldIn(t *testing.T, e azure.Environment) *world {
	t.Helper()
	c := fakecloud.Start(t)
	az := azure.New(c, azure.Options{})
	w := &world{c: c, az: az, tenant: az.Tenant(e, "contoso.onmicrosoft.com")}
	w.reg = w.tenant.Registry("acmeacr")
	w.pusher = w.tenant.App("pusher")
	w.secret = w.pusher.AddSecret(0)
	w.reg.Assign(w.pusher, azure.AcrPush)
	if err := push(w, w.reg.Host+"/team/app:v1", w.pusher.ClientID, w.secret); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) options(e azure.Environment) azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: w.c.Client(),
		Cloud: cloud.Configuration{
			ActiveDirectoryAuthorityHost: "https://" + e.Authority + "/",
			Services:                     map[cloud.ServiceName]cloud.ServiceConfiguration{azcontainerregistry.ServiceName: {Audience: azure.RegistryAudience}},
		},
		Retry: policy.RetryOptions{MaxRetries: -1},
	}
}

// metadata sends what is meant for the metadata service of a machine to m.
type metadata struct {
	m    *azure.Machine
	next *http.Client
}

func (x metadata) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "169.254.169.254" {
		u, err := url.Parse(x.m.IMDS)
		if err != nil {
			return nil, err
		}
		r = r.Clone(r.Context())
		r.URL.Host, r.Host = u.Host, ""
	}
	return x.next.Do(r)
}

func (w *world) client(t *testing.T, host string, cred azcore.TokenCredential) *azcontainerregistry.Client {
	t.Helper()
	o := w.options(w.tenant.Environment)
	cl, err := azcontainerregistry.NewClient("https://"+host, cred, &azcontainerregistry.ClientOptions{ClientOptions: o})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func repositories(ctx context.Context, cl *azcontainerregistry.Client) ([]string, error) {
	var out []string
	for p := cl.NewListRepositoriesPager(nil); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range page.Repositories.Names {
			out = append(out, *n)
		}
	}
	return out, nil
}

func tags(ctx context.Context, cl *azcontainerregistry.Client, repo string) ([]string, error) {
	var out []string
	for p := cl.NewListTagsPager(repo, nil); p.More(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, x := range page.Tags {
			out = append(out, *x.Name)
		}
	}
	return out, nil
}

// TestTheVendorsIdentitiesListAndDelete drives every kind of identity with
// the vendor's own libraries.
func TestTheVendorsIdentitiesListAndDelete(t *testing.T) {
	credentials := map[string]func(*testing.T, *world) (azcore.TokenCredential, *azure.Principal){
		"client secret": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.App("ci")
			c, err := azidentity.NewClientSecretCredential(w.tenant.ID, p.ClientID, p.AddSecret(0), &azidentity.ClientSecretCredentialOptions{ClientOptions: w.options(azure.Public)})
			return must(t, c, err), p
		},
		"certificate": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.App("ci")
			certs, key, err := azidentity.ParseCertificates(p.AddCertificate().PEM, nil)
			if err != nil {
				t.Fatal(err)
			}
			c, err := azidentity.NewClientCertificateCredential(w.tenant.ID, p.ClientID, certs, key, &azidentity.ClientCertificateCredentialOptions{ClientOptions: w.options(azure.Public)})
			return must(t, c, err), p
		},
		"federated token": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.App("ci")
			p.Federate(azure.Federation{Issuer: fakecloud.GitLabIssuer, Subject: "project_path:acme/app"})
			c, err := azidentity.NewClientAssertionCredential(w.tenant.ID, p.ClientID, func(context.Context) (string, error) {
				return w.c.Issuer(fakecloud.GitLabIssuer).Sign("project_path:acme/app", "api://AzureADTokenExchange", nil), nil
			}, &azidentity.ClientAssertionCredentialOptions{ClientOptions: w.options(azure.Public)})
			return must(t, c, err), p
		},
		"device code": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.User("jane@contoso.example")
			w.az.SlowDown(1)
			c, err := azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{
				ClientOptions: w.options(azure.Public), ClientID: azure.CLIClient,
				UserPrompt: func(_ context.Context, m azidentity.DeviceCodeMessage) error { return w.az.Approve(m.UserCode, p) },
			})
			return must(t, c, err), p
		},
		"system-assigned": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.ManagedIdentity("vm")
			return managed(t, w, w.az.Machine("imds", p, w.tenant.ManagedIdentity("other")), nil), p
		},
		"user-assigned by client id": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.ManagedIdentity("mine")
			return managed(t, w, w.az.Machine("imds", nil, w.tenant.ManagedIdentity("other"), p), azidentity.ClientID(p.ClientID)), p
		},
		"user-assigned by object id": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.ManagedIdentity("mine")
			return managed(t, w, w.az.Machine("imds", nil, w.tenant.ManagedIdentity("other"), p), azidentity.ObjectID(p.ObjectID)), p
		},
		"user-assigned by resource id": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.ManagedIdentity("mine")
			return managed(t, w, w.az.Machine("imds", nil, w.tenant.ManagedIdentity("other"), p), azidentity.ResourceID(p.ResourceID)), p
		},
		"App Service": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			// Named, since the SDK keeps tokens of unnamed identities for the whole process.
			p := w.tenant.ManagedIdentity("site")
			m := w.az.Machine("imds", nil, p)
			t.Setenv("IDENTITY_ENDPOINT", m.IdentityEndpoint)
			t.Setenv("IDENTITY_HEADER", m.IdentityHeader)
			return managed(t, w, m, azidentity.ClientID(p.ClientID)), p
		},
		"az": func(t *testing.T, w *world) (azcore.TokenCredential, *azure.Principal) {
			p := w.tenant.User("jane@contoso.example")
			cli, dir := bashCLI(t, w), t.TempDir()
			if err := cli.Login(dir, p, azure.Subscription{Name: "dev one", Tenant: w.tenant}); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", cli.Dir+":"+os.Getenv("PATH"))
			t.Setenv("AZURE_CONFIG_DIR", dir)
			c, err := azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{Subscription: "dev one"})
			return must(t, c, err), p
		},
	}
	for name, f := range credentials {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			cred, who := f(t, w)
			cl := w.client(t, w.reg.Host, cred)
			if _, err := repositories(t.Context(), cl); statusOf(err) != http.StatusUnauthorized {
				t.Fatalf("without a role: %v", err)
			}
			w.reg.Assign(who, azure.AcrPull)
			w.reg.Assign(who, azure.AcrDelete, "team/app")
			if got, err := repositories(t.Context(), cl); err != nil || !slices.Equal(got, []string{"team/app"}) {
				t.Fatalf("repositories %q, %v", got, err)
			}
			if got, err := tags(t.Context(), cl, "team/app"); err != nil || !slices.Equal(got, []string{"v1"}) {
				t.Fatalf("tags %q, %v", got, err)
			}
			if _, err := cl.DeleteTag(t.Context(), "team/app", "v1", nil); err != nil {
				t.Fatal(err)
			}
			if got, err := tags(t.Context(), cl, "team/app"); err != nil || len(got) != 0 {
				t.Errorf("after the deletion: %q, %v", got, err)
			}
			if _, err := cl.DeleteRepository(t.Context(), "team/other", nil); statusOf(err) != http.StatusUnauthorized {
				t.Errorf("deletion elsewhere: %v", err)
			}
		})
	}
}

func must(t *testing.T, c azcore.TokenCredential, err error) azcore.TokenCredential {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func managed(t *testing.T, w *world, m *azure.Machine, id azidentity.ManagedIDKind) azcore.TokenCredential {
	t.Helper()
	o := w.options(azure.Public)
	o.Transport = metadata{m, w.c.Client()}
	c, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{ClientOptions: o, ID: id})
	return must(t, c, err)
}

func statusOf(err error) int {
	if e, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return e.StatusCode
	}
	if e, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok && e.RawResponse != nil {
		return e.RawResponse.StatusCode
	}
	return 0
}

func bashCLI(t *testing.T, w *world) *azure.CLI {
	t.Helper()
	if _, err := os.Stat("/bin/bash"); err != nil {
		t.Skip("SKIP: the fake az needs /bin/bash: apt-get install bash")
	}
	return w.az.CLI(t)
}

func TestDeletedManifestTakesItsTagsAlong(t *testing.T) {
	w := newWorld(t)
	w.reg.Assign(w.pusher, azure.AcrDelete)
	if err := push(w, w.reg.Host+"/team/app:v2", w.pusher.ClientID, w.secret); err != nil {
		t.Fatal(err)
	}
	cred, err := azidentity.NewClientSecretCredential(w.tenant.ID, w.pusher.ClientID, w.secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: w.options(azure.Public)})
	cl := w.client(t, w.reg.Host, must(t, cred, err))
	digest, err := cl.GetTagProperties(t.Context(), "team/app", "v1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cl.DeleteManifest(t.Context(), "team/app", *digest.Tag.Digest, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := tags(t.Context(), cl, "team/app"); err != nil || !slices.Equal(got, []string{"v2"}) {
		t.Errorf("tags %q, %v", got, err)
	}
	props, err := cl.GetRepositoryProperties(t.Context(), "team/app", nil)
	if err != nil || *props.TagCount != 1 {
		t.Errorf("properties %+v, %v", props, err)
	}
	n := 0
	for p := cl.NewListManifestsPager("team/app", nil); p.More(); n++ {
		if page, err := p.NextPage(t.Context()); err != nil || len(page.Manifests.Attributes) != 1 {
			t.Fatalf("manifests %+v, %v", page, err)
		}
	}
	if n != 1 {
		t.Errorf("%d pages", n)
	}
	if _, err := cl.DeleteRepository(t.Context(), "team/app", nil); err != nil {
		t.Error(err)
	}
	if got, err := repositories(t.Context(), cl); err != nil || len(got) != 0 {
		t.Errorf("repositories %q, %v", got, err)
	}
}

func TestListsComeInPages(t *testing.T) {
	w := newWorld(t)
	for _, r := range []string{"a", "b/c", "d"} {
		if err := push(w, w.reg.Host+"/"+r+":v1", w.pusher.ClientID, w.secret); err != nil {
			t.Fatal(err)
		}
	}
	cred, err := azidentity.NewClientSecretCredential(w.tenant.ID, w.pusher.ClientID, w.secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: w.options(azure.Public)})
	cl := w.client(t, w.reg.Host, must(t, cred, err))
	var pages []string
	max := int32(2)
	for p := cl.NewListRepositoriesPager(&azcontainerregistry.ClientListRepositoriesOptions{MaxNum: &max}); p.More(); {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, n := range page.Repositories.Names {
			names = append(names, *n)
		}
		pages = append(pages, strings.Join(names, " "))
	}
	if !slices.Equal(pages, []string{"a b/c", "d team/app"}) {
		t.Errorf("%q", pages)
	}
}

func TestEnvironmentsAreSeparate(t *testing.T) {
	for _, e := range []azure.Environment{azure.Government, azure.China} {
		t.Run(e.Name, func(t *testing.T) {
			w := worldIn(t, e)
			cred, err := azidentity.NewClientSecretCredential(w.tenant.ID, w.pusher.ClientID, w.secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: w.options(e)})
			if got, err := repositories(t.Context(), w.client(t, w.reg.Host, must(t, cred, err))); err != nil || len(got) != 1 {
				t.Errorf("%q, %v", got, err)
			}
			abroad, err := azidentity.NewClientSecretCredential(w.tenant.ID, w.pusher.ClientID, w.secret, &azidentity.ClientSecretCredentialOptions{ClientOptions: w.options(azure.Public)})
			_, err = must(t, abroad, err).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{azure.RegistryAudience + "/.default"}})
			if err == nil || !strings.Contains(err.Error(), "AADSTS90002") {
				t.Errorf("in the public cloud: %v", err)
			}
		})
	}
}

func TestAzSaysWhatIsWrong(t *testing.T) {
	w := newWorld(t)
	cli, dir := bashCLI(t, w), t.TempDir()
	jane, other := w.tenant.User("jane@contoso.example"), w.az.Tenant(azure.Public, "fabrikam.onmicrosoft.com")
	run := func(args ...string) (string, string, int) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, cli.Path, args...)
		var out, errs strings.Builder
		cmd.Env, cmd.Stdout, cmd.Stderr = []string{"AZURE_CONFIG_DIR=" + dir, "PATH=/nowhere"}, &out, &errs
		_ = cmd.Run()
		return out.String(), errs.String(), cmd.ProcessState.ExitCode()
	}
	if _, errs, code := run("account", "get-access-token", "-o", "json", "--resource", azure.RegistryAudience); code != 1 || errs != "ERROR: Please run 'az login' to setup account.\n" {
		t.Errorf("logged out: %d %s", code, errs)
	}
	if err := cli.Login(dir, jane, azure.Subscription{ID: "11111111-2222-3333-4444-555555555555", Name: "dev", Tenant: w.tenant}); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := run("account", "list", "-o", "json"); code != 0 || !strings.Contains(out, `"tenantId": "`+w.tenant.ID+`"`) || errs != "" {
		t.Errorf("list: %d %s %s", code, out, errs)
	}
	if out, _, code := run("account", "show", "-o", "json"); code != 0 || !strings.Contains(out, `"isDefault": true`) {
		t.Errorf("show: %d %s", code, out)
	}
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"a tenant that she is no guest of": {[]string{"--tenant", other.ID}, "AADSTS50020"},
		"no tenant":                        {[]string{"--tenant", "nobody.example"}, "AADSTS90002"},
		"no subscription":                  {[]string{"--subscription", "prod"}, "Subscription 'prod' not found"},
		"both":                             {[]string{"--subscription", "dev", "--tenant", w.tenant.ID}, "Please specify only one"},
		"another resource":                 {[]string{"--resource", "https://evil.example"}, "AADSTS500011"},
		"an option that az has not":        {[]string{"--scopes", "x"}, "unrecognized arguments"},
	} {
		if out, errs, code := run(append([]string{"account", "get-access-token", "-o", "json"}, tc.args...)...); code == 0 || out != "" || !strings.Contains(errs, tc.want) {
			t.Errorf("%s: %d %s %s", name, code, out, errs)
		}
	}
	other.Invite(jane)
	if out, errs, code := run("account", "get-access-token", "-o", "json", "--tenant", other.ID); code != 0 || !strings.Contains(out, other.ID) {
		t.Errorf("as a guest: %d %s", code, errs)
	}
	if err := cli.Expire(dir); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := run("account", "get-access-token"); code != 1 || !strings.Contains(errs, "AADSTS700082") || !strings.Contains(errs, "az login") {
		t.Errorf("expired: %d %s", code, errs)
	}
	if err := cli.Logout(dir); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := run("account", "show"); code != 1 || !strings.Contains(errs, "az login") {
		t.Errorf("logged out again: %d %s", code, errs)
	}
}
