// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud/azure"
)

// A host whose identity was not found in time must not go anonymous.
func TestASearchThatIsCutShortIsNoAbsence(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.runs(func(context.Context, providers.Command) ([]byte, error) { return nil, fs.ErrNotExist })
	left := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		select {
		case <-left:
		case <-q.Context().Done():
		}
	}))
	defer hung.Close()
	defer close(left)
	s := r.open(Options{MetadataEndpoint: hung.URL}, ambientLayer)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := s.Mint(ctx, providers.Request{Host: r.host})
	r.fails(err, providers.Unavailable, "did not end in time")
	if s.absent.known(s.plan.metadata, r.deps.Now()) {
		t.Error("the machine is taken for one without the service")
	}
}

// A node of a cluster often has several: that is no absence, and no choice of ours.
func TestSeveralManagedIdentitiesAreToBeChosenFrom(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.runs(func(context.Context, providers.Command) ([]byte, error) { return nil, fs.ErrNotExist })
	one, two := r.tenant.ManagedIdentity("one"), r.tenant.ManagedIdentity("two")
	r.reg.Assign(two, azure.AcrPull)
	node := r.az.Machine("node", nil, one, two)
	_, err := r.mint(r.open(Options{MetadataEndpoint: node.IMDS}, ambientLayer))
	r.fails(err, providers.Misconfigured, "several managed identities", "client_id")
	r.deps.Env = map[string]string{envClient: two.ClientID}
	r.works(r.open(Options{MetadataEndpoint: node.IMDS}, ambientLayer))
}

// The audience of a token is the same in every cloud: what one cloud's registry
// was shown would be good at those of another.
func TestTokensStayInTheirCloud(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	china := r.az.Tenant(azure.China, "")
	abroad := *r
	abroad.host = httpxtest.Host(t, china.Registry("abroadregistry").Host)
	vm := r.az.Machine("vm", r.tenant.ManagedIdentity("own"))
	r.runs(func(context.Context, providers.Command) ([]byte, error) { return nil, fs.ErrNotExist })
	abroad.deps = r.deps
	_, err := abroad.mint(abroad.open(Options{MetadataEndpoint: vm.IMDS}, ambientLayer))
	abroad.fails(err, providers.NoAccount, "cloud public", "china")
	_, err = abroad.mint(abroad.open(Options{Identity: identityOf(t, byManaged), MetadataEndpoint: vm.IMDS}))
	abroad.fails(err, providers.Misconfigured, "cloud public", "china")
	for _, authority := range []string{"", "https://login.microsoftonline.com/"} {
		abroad.deps.Env = map[string]string{
			envTenant: r.tenant.ID, envClient: r.app.ClientID, envSecret: r.secret, envAuthority: authority,
		}
		_, err = abroad.mint(abroad.open(Options{MetadataEndpoint: "http://127.0.0.1:1"}, ambientLayer))
		abroad.fails(err, providers.NoAccount, "AZURE_CLIENT_ID is of Azure's cloud public")
	}
	for _, host := range []string{abroad.host.String(), azure.China.Authority} {
		if n := r.calls(host, "/"); n != 0 {
			t.Errorf("%d requests to %s", n, host)
		}
	}
}

func TestVariablesOfAnotherCloudServeItsRegistries(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	china := r.az.Tenant(azure.China, "")
	app, reg := china.App("ci"), china.Registry("abroadregistry")
	reg.Assign(app, azure.AcrPull)
	r.host = httpxtest.Host(t, reg.Host)
	r.deps.Env = map[string]string{
		envTenant: china.ID, envClient: app.ClientID, envSecret: app.AddSecret(0), envAuthority: "https://login.chinacloudapi.cn/",
	}
	r.works(r.open(Options{}, ambientLayer))
}

func TestOneBrokenLoginOfAzDoesNotHideTheOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	jane, other := r.tenant.User("jane@contoso.example"), r.az.Tenant(azure.Public, "")
	r.reg.Assign(jane, azure.AcrPull)
	token := r.az.EntraToken(jane, azure.RegistryAudience, nil)
	r.runs(func(_ context.Context, c providers.Command) ([]byte, error) {
		switch args := strings.Join(c.Args, " "); {
		case strings.Contains(args, "account list"):
			return fmt.Appendf(nil, `[{"id":"a","name":"a","tenantId":%q,"isDefault":true,"user":{"name":"jane"}},{"id":"b","name":"b","tenantId":%q,"user":{"name":"jane"}}]`, other.ID, r.tenant.ID), nil
		case strings.Contains(args, "--subscription b"):
			return fmt.Appendf(nil, `{"accessToken":%q,"expires_on":%d}`, token, r.cloud.Now().Add(time.Hour).Unix()), nil
		}
		return nil, &providers.Error{Kind: providers.Unavailable, Err: errors.New("az failed: a traceback")}
	})
	res, err := r.login(&terminal{t: t}, Options{})
	if err != nil || !strings.Contains(res.Who, "jane") {
		t.Errorf("%+v %v", res, err)
	}
}

func TestADirectoryThatAVariableNamesBringsAzNoExtensions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var env []string
	r.runs(func(_ context.Context, c providers.Command) ([]byte, error) {
		env = c.Env
		return nil, fs.ErrNotExist
	})
	own := "AZURE_EXTENSION_DIR=" + filepath.Join(r.deps.Home, ".azure", "cliextensions")
	dir := t.TempDir()
	r.deps.Env = map[string]string{envConfigDir: dir}
	_, _ = r.mint(r.open(Options{MetadataEndpoint: "http://127.0.0.1:1"}, ambientLayer))
	if !slices.Contains(env, envConfigDir+"="+dir) || !slices.Contains(env, own) || !slices.Contains(env, "AZURE_EXTENSION_DEV_SOURCES=") {
		t.Errorf("az gets %q", env)
	}
}
