// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
)

const canary = "CNRYecr0123456789abcdefghijklmno"

const (
	hostOne   = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
	hostTwo   = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
	roleCI    = "arn:aws:iam::111111111111:role/ci"
	roleInner = "arn:aws:iam::111111111111:role/inner"
)

// seen is a request that reached AWS.
type seen struct {
	Host, Action, Key, Scope string
	Form                     url.Values
	Body                     string
}

// clouds are the services of AWS that the provider asks, without their checks:
// those are proven against the fake of test/fakecloud/aws.
type clouds struct {
	*fakecloud.Cloud
	mu    sync.Mutex
	calls []seen
	// answer replaces the answer of an action, where it returns true.
	answer map[string]http.HandlerFunc
	// life of what STS and the portal hand out.
	life time.Duration
	// account is whose keys are in use.
	account string
}

func start(t *testing.T) *clouds {
	t.Helper()
	c := &clouds{Cloud: fakecloud.Start(t), answer: map[string]http.HandlerFunc{}, life: time.Hour, account: "111111111111"}
	for _, p := range []string{"api.ecr.*.amazonaws.com", "api.ecr-fips.*.amazonaws.com", "ecr.*.api.aws", "ecr-fips.*.api.aws", "api.ecr.*.amazonaws.com.cn", "api.ecr-public.us-east-1.amazonaws.com", "ecr-public.us-east-1.api.aws"} {
		c.Handle(p, http.HandlerFunc(c.ecr))
	}
	for _, p := range []string{"sts.*.amazonaws.com", "sts.*.amazonaws.com.cn", "sts-fips.*.amazonaws.com", "sts.*.api.aws"} {
		c.Handle(p, http.HandlerFunc(c.sts))
	}
	c.Handle("portal.sso.*.amazonaws.com", http.HandlerFunc(c.portal))
	c.Handle("oidc.*.amazonaws.com", http.HandlerFunc(c.oidc))
	return c
}

// note records a request and plays its planned answer.
func (c *clouds) note(w http.ResponseWriter, r *http.Request, action string, form url.Values, body string) bool {
	s := seen{Host: r.Host, Action: action, Form: form, Body: body}
	if _, rest, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		rest, _, _ = strings.Cut(rest, ",")
		s.Key, s.Scope, _ = strings.Cut(rest, "/")
	}
	c.mu.Lock()
	c.calls = append(c.calls, s)
	f := c.answer[action]
	c.mu.Unlock()
	if f != nil {
		f(w, r)
	}
	return f != nil
}

func (c *clouds) all(action string) []seen {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []seen
	for _, s := range c.calls {
		if s.Action == action {
			out = append(out, s)
		}
	}
	return out
}

func (c *clouds) when(action string, h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer[action] = h
}

func (c *clouds) ecr(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if c.note(w, r, r.Header.Get("X-Amz-Target"), nil, string(body)) {
		return
	}
	d := map[string]any{
		"authorizationToken": base64.StdEncoding.EncodeToString([]byte("AWS:" + canary)),
		"expiresAt":          float64(time.Now().Add(12*time.Hour).UnixMilli()) / 1000,
	}
	region := strings.Split(r.Host, ".")[2]
	if !strings.HasPrefix(r.Host, "api.") {
		region = strings.Split(r.Host, ".")[1]
	}
	d["proxyEndpoint"] = "https://" + c.account + ".dkr.ecr." + region + ".amazonaws.com"
	if strings.HasSuffix(r.Host, ".cn") {
		d["proxyEndpoint"] = d["proxyEndpoint"].(string) + ".cn"
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if strings.HasPrefix(r.Header.Get("X-Amz-Target"), "SpencerFrontendService.") {
		delete(d, "proxyEndpoint")
		_ = json.NewEncoder(w).Encode(map[string]any{"authorizationData": d})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"authorizationData": []any{d}})
}

func (c *clouds) sts(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	action := r.PostForm.Get("Action")
	if c.note(w, r, action, r.PostForm, "") {
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	inner := ""
	if action == "GetCallerIdentity" {
		inner = fmt.Sprintf("<Arn>arn:aws:sts::%s:assumed-role/dev/jane</Arn><Account>%s</Account><UserId>AIDA:jane</UserId>", c.account, c.account)
	} else {
		c.mu.Lock()
		n := len(c.calls)
		c.mu.Unlock()
		inner = fmt.Sprintf("<Credentials><AccessKeyId>ASIA%d</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken>%s</SessionToken><Expiration>%s</Expiration></Credentials>",
			n, canary, canary, time.Now().Add(c.life).UTC().Format(time.RFC3339))
	}
	_, _ = fmt.Fprintf(w, `<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>`, action, inner)
}

func (c *clouds) portal(w http.ResponseWriter, r *http.Request) {
	if c.note(w, r, r.URL.Path, r.URL.Query(), r.Header.Get("X-Amz-Sso_bearer_token")) {
		return
	}
	if r.URL.Path == "/assignment/roles" {
		fakecloud.WriteJSON(w, 200, map[string]any{"roleList": []any{map[string]string{"roleName": "Dev", "accountId": r.URL.Query().Get("account_id")}, map[string]string{"roleName": "Admin", "accountId": "x"}}})
		return
	}
	fakecloud.WriteJSON(w, 200, map[string]any{"roleCredentials": map[string]any{
		"accessKeyId": "ASIASSO", "secretAccessKey": canary, "sessionToken": canary, "expiration": time.Now().Add(c.life).UnixMilli(),
	}})
}

func (c *clouds) oidc(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if c.note(w, r, r.URL.Path, nil, string(body)) {
		return
	}
	switch r.URL.Path {
	case "/client/register":
		fakecloud.WriteJSON(w, 200, map[string]any{"clientId": "client", "clientSecret": canary, "clientSecretExpiresAt": time.Now().Add(90 * 24 * time.Hour).Unix()})
	case "/device_authorization":
		fakecloud.WriteJSON(w, 200, map[string]any{
			"deviceCode": "device-" + canary, "userCode": "ABCD-EFGH", "verificationUri": "https://device.sso.eu-west-1.amazonaws.com/",
			"verificationUriComplete": "https://device.sso.eu-west-1.amazonaws.com/?user_code=ABCD-EFGH", "expiresIn": 600, "interval": 1,
		})
	case "/token":
		fakecloud.WriteJSON(w, 200, map[string]any{"accessToken": "fresh", "tokenType": "Bearer", "expiresIn": 28800, "refreshToken": "next"})
	}
}

// fault answers in the shape of JSON 1.1.
func fault(status int, code, message string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message})
	}
}

// refusal answers in the shape of STS.
func refusal(status int, code, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>r</RequestId></ErrorResponse>`, code, message)
	}
}

// person is whose machine the provider runs on.
type person struct {
	t    *testing.T
	home string
	deps providers.Deps
	log  *httpxtest.Log
	ran  int
	out  []string // what programs print, one after the other
}

func (c *clouds) person(t *testing.T, secrets map[string]string) *person {
	t.Helper()
	p := &person{t: t, home: t.TempDir()}
	p.deps, p.log = httpxtest.Deps(t, secrets)
	p.deps.Home = p.home
	p.deps.Network = providers.Network{HTTPSProxy: c.ProxyURL(), CAFile: c.CAFile(t), NoProxy: "none.invalid"}
	p.deps.Run = func(_ context.Context, cmd providers.Command) ([]byte, error) {
		if p.ran++; p.ran > len(p.out) {
			return nil, &providers.Error{Kind: providers.Unavailable, Err: errors.New(cmd.Path + ": exit 1")}
		}
		return []byte(p.out[p.ran-1]), nil
	}
	var mu sync.Mutex
	p.deps.Lock = func(context.Context, string) (func(), error) { mu.Lock(); return mu.Unlock, nil }
	return p
}

func (p *person) file(name, text string) string {
	p.t.Helper()
	name = filepath.Join(p.home, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return name
}

func (p *person) configured(o *Options, edit ...func(*providers.Account)) providers.Source {
	p.t.Helper()
	return p.account(providers.Account{Name: "a", Provider: "ecr", Options: o, Layer: providers.LayerConfigured}, edit...)
}

// ambient is a host recognised by its name, for a caller with these variables.
func (p *person) ambient(env ...string) providers.Source {
	p.t.Helper()
	p.deps.Env = map[string]string{}
	for i := 0; i+1 < len(env); i += 2 {
		p.deps.Env[env[i]] = env[i+1]
	}
	return p.account(providers.Account{Name: "ecr:x", Provider: "ecr", Options: &Options{}, Layer: providers.LayerAmbient})
}

func (p *person) account(a providers.Account, edit ...func(*providers.Account)) providers.Source {
	p.t.Helper()
	for _, f := range edit {
		f(&a)
	}
	s, err := New().Open(a, p.deps)
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

func request(t *testing.T, host string, gs ...providers.Grant) providers.Request {
	t.Helper()
	return providers.Request{Host: httpxtest.Host(t, host), Grants: gs}
}

func mint(t *testing.T, s providers.Source, host string, gs ...providers.Grant) (providers.Credential, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := s.Mint(ctx, request(t, host, gs...))
	if err != nil {
		judge(t, err)
	}
	return c, err
}

func mustMint(t *testing.T, s providers.Source, host string, gs ...providers.Grant) providers.Credential {
	t.Helper()
	c, err := mint(t, s, host, gs...)
	if err != nil {
		t.Fatal(err)
	}
	if c.Username != "AWS" || c.Secret.Reveal() != canary || c.Origin == "" || !c.ExpiresAt.After(time.Now()) {
		t.Errorf("credential %+v", c)
	}
	return c
}

// judge checks what every error must be.
func judge(t *testing.T, err error) {
	t.Helper()
	e, ok := errors.AsType[*providers.Error](err)
	if !ok || e.Err == nil || e.Host.IsZero() {
		t.Fatalf("%T without a host: %v", err, err)
	}
	if len(httpxtest.Leaks(err.Error(), canary)) > 0 {
		t.Errorf("a secret in %v", err)
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		t.Errorf("control characters in %q", err.Error())
	}
}

func wants(t *testing.T, err error, k providers.Kind, parts ...string) {
	t.Helper()
	if err == nil || providers.KindOf(err) != k {
		t.Errorf("want %s, got %v", k, err)
		return
	}
	for _, s := range parts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("no %q in %v", s, err)
		}
	}
}
