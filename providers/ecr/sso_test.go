// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
)

const ssoConfig = `[sso-session corp]
sso_start_url = https://acme.awsapps.com/start
sso_region = eu-west-1
sso_registration_scopes = sso:account:access

[profile dev]
sso_session = corp
sso_account_id = 111111111111
sso_role_name = Dev

[profile old]
sso_start_url = https://old.awsapps.com/start
sso_region = us-east-1
sso_account_id = 111111111111
sso_role_name = Dev
`

// login writes a token as the aws command line does, and something of its own
// into it.
func (p *person) login(key string, end time.Time, refresh string) string {
	p.t.Helper()
	sum := sha1.Sum([]byte(key))
	m := map[string]string{
		"startUrl": "https://acme.awsapps.com/start", "region": "eu-west-1", "accessToken": "old-token", "expiresAt": end.UTC().Format(time.RFC3339),
		"theirs": "kept",
	}
	if refresh != "" {
		m["refreshToken"], m["clientId"], m["clientSecret"] = refresh, "client", canary
		m["registrationExpiresAt"] = time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	}
	b, _ := json.Marshal(m)
	return p.file(".aws/sso/cache/"+hex.EncodeToString(sum[:])+".json", string(b))
}

func TestALoginOfTheAWSCommandLineIsUsed(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/config", ssoConfig)
	p.login("corp", time.Now().Add(time.Hour), "")
	p.login("https://old.awsapps.com/start", time.Now().Add(time.Hour), "")
	for name, o := range map[string]*Options{
		"profile": {Profile: "dev"}, "a profile of the old form": {Profile: "old"}, "session": {SSOSession: "corp", SSORoleName: "Dev"},
		"inline": {SSOStartURL: "https://old.awsapps.com/start", SSORegion: "us-east-1", SSORoleName: "Dev"},
	} {
		s := p.configured(o)
		cred := mustMint(t, s, hostOne)
		if left := time.Until(cred.ExpiresAt); left > time.Hour {
			t.Errorf("%s: expires in %s", name, left)
		}
		calls := c.all("/federation/credentials")
		last := calls[len(calls)-1]
		if last.Body != "old-token" || last.Form.Get("account_id") != "111111111111" || last.Form.Get("role_name") != "Dev" {
			t.Errorf("%s: %+v", name, last)
		}
		if w := strings.Join(s.(providers.Watcher).Watches(), " "); !strings.Contains(w, filepath.Join(p.home, ".aws", "sso", "cache")) || !strings.Contains(w, filepath.Join(p.home, ".aws", "config")) {
			t.Errorf("%s: watches %s", name, w)
		}
	}
	mustMint(t, p.ambient(envProfile, "dev"), hostOne)
}

func TestAnExpiredLoginSaysWhenAndWhatToRun(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/config", ssoConfig)
	now := time.Date(2026, 11, 21, 9, 30, 0, 0, time.UTC)
	p.deps.Now = func() time.Time { return now }
	s := p.configured(&Options{Profile: "dev"})
	_, err := mint(t, s, hostOne)
	wants(t, err, providers.LoginRequired, `AWS SSO session "corp" has no login; run: regmint login`)
	p.login("corp", now.Add(-78*time.Minute), "")
	_, err = mint(t, s, hostOne)
	wants(t, err, providers.LoginRequired, `AWS SSO session "corp" expired 08:12; run: regmint login`)
	p.login("corp", now.Add(-30*time.Hour), "")
	_, err = mint(t, s, hostOne)
	wants(t, err, providers.LoginRequired, `expired 2026-11-20 03:30; run: regmint login`)
	p.login("corp", now.Add(time.Hour), "") // aws sso login, in another terminal
	p.deps.Now = time.Now
	now = time.Now()
	p.login("corp", now.Add(time.Hour), "")
	mustMint(t, s, hostOne)
	p.file(".aws/sso/cache/"+filepath.Base(center{session: "corp"}.file(p.home)), "{"+canary)
	_, err = mint(t, s, hostOne)
	wants(t, err, providers.LoginRequired, "no JSON object")
}

func TestALoginIsRefreshedOnceAndKeptInTheFormOfTheAWSCommandLine(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/config", ssoConfig)
	name := p.login("corp", time.Now().Add(-time.Hour), "refresh-"+canary)
	s := p.configured(&Options{Profile: "dev"})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Mint(t.Context(), request(t, hostOne)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	calls := c.all("/token")
	if len(calls) != 1 || !strings.Contains(calls[0].Body, `"grantType":"refresh_token"`) || !strings.Contains(calls[0].Body, `"refreshToken":"refresh-`+canary) {
		t.Fatalf("%d refreshes: %+v", len(calls), calls)
	}
	var got map[string]string
	b, err := os.ReadFile(name)
	if err != nil || json.Unmarshal(b, &got) != nil {
		t.Fatal(err)
	}
	end, err := time.Parse("2006-01-02T15:04:05Z", got["expiresAt"])
	if err != nil || time.Until(end) < 7*time.Hour {
		t.Errorf("expiresAt %q", got["expiresAt"])
	}
	if got["accessToken"] != "fresh" || got["refreshToken"] != "next" || got["theirs"] != "kept" || got["clientSecret"] != canary || got["startUrl"] == "" {
		t.Errorf("%v", got)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
	if files, _ := os.ReadDir(filepath.Dir(name)); len(files) != 1 {
		t.Errorf("left over: %v", files)
	}
}

func TestARefreshThatIsRefusedAsksForALoginOnlyAtTheEnd(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/config", ssoConfig)
	c.when("/token", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-Errortype", "InvalidGrantException")
		fakecloud.WriteJSON(w, 400, map[string]string{"error": "invalid_grant", "error_description": canary})
	})
	p.login("corp", time.Now().Add(2*time.Minute), "refresh-"+canary)
	s := p.configured(&Options{Profile: "dev"})
	mustMint(t, s, hostOne)
	if !strings.Contains(p.log.String(), "AWS SSO login not renewed") {
		t.Errorf("log: %s", p.log)
	}
	p.login("corp", time.Now().Add(-2*time.Minute), "refresh-"+canary)
	_, err := mint(t, s, hostOne)
	wants(t, err, providers.LoginRequired, `AWS SSO session "corp" expired`, "run: regmint login")
	c.when("/token", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	_, err = mint(t, s, hostOne)
	wants(t, err, providers.Unavailable, "sso-oidc:CreateToken")
}

func TestThePortalsRefusalsAreNamed(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/config", ssoConfig)
	p.login("corp", time.Now().Add(time.Hour), "")
	s := p.configured(&Options{Profile: "dev"})
	for code, tc := range map[string]struct {
		status int
		kind   providers.Kind
		want   string
	}{
		"UnauthorizedException":     {401, providers.LoginRequired, `AWS SSO session "corp" is over`},
		"ForbiddenException":        {403, providers.Denied, `gives no access to account 111111111111 as Dev`},
		"ResourceNotFoundException": {404, providers.Misconfigured, "knows no account 111111111111"},
		"TooManyRequestsException":  {429, providers.Unavailable, "throttled"},
	} {
		c.when("/federation/credentials", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amzn-Errortype", code)
			fakecloud.WriteJSON(w, tc.status, map[string]string{"message": "no"})
		})
		_, err := mint(t, s, hostOne)
		wants(t, err, tc.kind, tc.want)
	}
	p.file(".aws/config", "[profile half]\nsso_session = corp\nsso_account_id = 111111111111\n[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://acme.awsapps.com/start\n")
	_, err := mint(t, p.configured(&Options{Profile: "half"}), hostOne)
	wants(t, err, providers.Misconfigured, `"half"`)
	_, err = mint(t, p.configured(&Options{SSOSession: "absent", SSORoleName: "x"}), hostOne)
	wants(t, err, providers.Misconfigured, `no sso-session "absent"`)
	_, err = mint(t, p.configured(&Options{SSOSession: "corp", SSORoleName: "x"}), "public.ecr.aws")
	wants(t, err, providers.Misconfigured, "sso_account_id")
}

// ui is a person at a terminal.
type ui struct {
	providers.LoginUI
	mu      sync.Mutex
	picks   []int
	asked   []string
	devices []providers.Device
	nobody  bool
}

func (u *ui) Say(string, ...any) {}

func (u *ui) Choose(_ context.Context, question string, choices []string) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(choices) == 1 {
		return 0, nil
	}
	u.asked = append(u.asked, question+" "+strings.Join(choices, " | "))
	if u.nobody || len(u.picks) == 0 {
		return 0, providers.ErrNobody
	}
	n := u.picks[0]
	u.picks = u.picks[1:]
	return n, nil
}

func (u *ui) Device(_ context.Context, d providers.Device) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.nobody {
		return providers.ErrNobody
	}
	u.devices = append(u.devices, d)
	return nil
}

func (p *person) logs(o *Options, host string, u *ui) (providers.LoginResult, error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	h := request(p.t, host).Host
	return New().Login(ctx, providers.LoginRequest{
		Host: h, Account: providers.Account{Name: "x", Provider: "ecr", Hosts: patterns(host), Options: o, Layer: providers.LayerSaved}, Deps: p.deps, UI: u,
	})
}

func TestLoginFindsTheProfileOfTheAccountAndRunsTheDeviceFlow(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/config", ssoConfig+"[profile foreign]\nrole_arn = arn:aws:iam::333333333333:role/x\nsource_profile = dev\n")
	u := &ui{picks: []int{0}}
	got, err := p.logs(&Options{}, hostOne, u)
	if err != nil {
		t.Fatal(err)
	}
	if o := got.Account.Options.(*Options); o.Profile != "dev" || !got.Write || got.Who != "arn:aws:sts::111111111111:assumed-role/dev/jane" {
		t.Errorf("%+v %+v", got, o)
	}
	if len(u.asked) != 1 || !strings.Contains(u.asked[0], `profile "dev" (IAM Identity Center as Dev) | profile "old"`) || strings.Contains(u.asked[0], "foreign") {
		t.Errorf("asked %q", u.asked)
	}
	if len(u.devices) != 1 || u.devices[0].Code != "ABCD-EFGH" || u.devices[0].For != `AWS SSO session "corp"` || u.devices[0].Complete == "" {
		t.Errorf("%+v", u.devices)
	}
	reg, tok := c.all("/client/register"), c.all("/token")
	if len(reg) != 1 || !strings.Contains(reg[0].Body, "sso:account:access") || !strings.Contains(reg[0].Body, "refresh_token") || len(tok) != 1 || !strings.Contains(tok[0].Body, "device_code") {
		t.Errorf("%+v %+v", reg, tok)
	}
	// The aws command line finds the same login; so does the next mint.
	tk, err := readToken(center{session: "corp"}.file(p.home))
	if err != nil || tk.access != "fresh" || tk.refresh != "next" || tk.registered.IsZero() || string(tk.all["startUrl"]) != `"https://acme.awsapps.com/start"` || string(tk.all["region"]) != `"eu-west-1"` {
		t.Errorf("%+v %v", tk, err)
	}
	mustMint(t, p.configured(got.Account.Options.(*Options)), hostOne)
	if got, err = p.logs(&Options{Profile: "dev"}, hostOne, u); err != nil || got.Write || len(u.devices) != 1 {
		t.Errorf("a second login: %+v %v", got, err)
	}
	u.nobody = true
	_, err = p.logs(&Options{}, hostOne, u)
	wants(t, err, providers.Misconfigured, "several profiles fit: dev, old")
	_, err = p.logs(&Options{Profile: "old"}, hostOne, u)
	wants(t, err, providers.LoginRequired, "needs a person")
}

func TestLoginOffersTheRolesOfIdentityCenterWhereNoProfileFits(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.deps.Env = map[string]string{envNoMetadata: "true"}
	p.file(".aws/config", "[sso-session corp]\nsso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\n")
	c.account = "222222222222"
	u := &ui{picks: []int{1}}
	got, err := p.logs(&Options{}, hostTwo, u)
	if err != nil {
		t.Fatal(err)
	}
	if o := got.Account.Options.(*Options); o.SSOSession != "corp" || o.SSOAccountID != "222222222222" || o.SSORoleName != "Dev" || !got.Write {
		t.Errorf("%+v", o)
	}
	if len(u.asked) != 1 || !strings.Contains(u.asked[0], "Admin | Dev") {
		t.Errorf("asked %q", u.asked)
	}
}

func TestLoginAsksAWSWhoseKeysAre(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/credentials", "[ops]\naws_access_key_id = AKIAOPS\naws_secret_access_key = "+canary+"\n")
	got, err := p.logs(&Options{}, hostOne, &ui{})
	if err != nil || got.Account.Options.(*Options).Profile != "ops" || !got.Write {
		t.Fatalf("%+v %v", got, err)
	}
	p.deps.Env = map[string]string{envNoMetadata: "true"}
	_, err = p.logs(&Options{}, hostTwo, &ui{})
	wants(t, err, providers.Misconfigured, "no profile in ~/.aws/config is in account 222222222222", "aws configure sso")
	p.file(".aws/credentials", "")
	p.deps.Env = map[string]string{envKeyID: "AKIAENV", envSecret: canary}
	if got, err = p.logs(&Options{}, hostOne, &ui{}); err != nil || got.Write || got.Who == "" {
		t.Errorf("the terminal's own keys: %+v %v", got, err)
	}
}

func TestTheDeviceFlowWaitsAsItIsTold(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		codes []string
		kind  providers.Kind
		want  string
	}{
		"pending, then slow":        {[]string{"AuthorizationPendingException", "SlowDownException", ""}, "", ""},
		"a network that fails once": {[]string{"503", ""}, "", ""},
		"refused":                   {[]string{"AccessDeniedException"}, providers.Denied, "refused in the browser"},
		"too late":                  {[]string{"ExpiredTokenException"}, providers.LoginRequired, "the code expired before it was entered"},
		"broken":                    {[]string{"InvalidClientException"}, providers.Misconfigured, "InvalidClientException"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := start(t)
			p := c.person(t, nil)
			p.file(".aws/config", ssoConfig)
			var mu sync.Mutex
			n := 0
			c.when("/token", func(w http.ResponseWriter, _ *http.Request) {
				mu.Lock()
				code := tc.codes[min(n, len(tc.codes)-1)]
				n++
				mu.Unlock()
				switch code {
				case "":
					fakecloud.WriteJSON(w, 200, map[string]any{"accessToken": "fresh", "expiresIn": 3600})
				case "503":
					w.WriteHeader(503)
				default:
					w.Header().Set("X-Amzn-Errortype", code)
					fakecloud.WriteJSON(w, 400, map[string]string{"error": "x", "error_description": canary})
				}
			})
			_, err := p.logs(&Options{Profile: "dev"}, hostOne, &ui{})
			if tc.want == "" {
				if err != nil || n != len(tc.codes) {
					t.Errorf("%d polls: %v", n, err)
				}
				return
			}
			wants(t, err, tc.kind, tc.want)
		})
	}
}

func TestPausesEndWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := pause(ctx, time.Hour); err == nil || time.Since(begin) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		if err := pause(t.Context(), 5*time.Second); err != nil {
			t.Error(err)
		}
	})
}

func TestTokensOfOtherToolsTellTheirEnd(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	h := request(t, hostOne).Host
	for name, tc := range map[string]struct {
		user, secret string
		life         time.Duration
		ok           bool
	}{
		"another user": {"ci", "x", 0, false},
		"opaque":       {"AWS", "opaque", 12 * time.Hour, true},
		"with an end":  {"AWS", b64(fmt.Sprintf(`{"payload":"x","expiration":%d}`, now.Add(3*time.Hour).Unix())), 3 * time.Hour, true},
		"expired":      {"AWS", b64(fmt.Sprintf(`{"expiration":%d}`, now.Add(-time.Hour).Unix())), 0, true},
		"too far":      {"AWS", b64(`{"expiration":9999999999}`), 12 * time.Hour, true},
	} {
		life, ok := New().MintedUser(h, tc.user, providers.NewSecret(tc.secret), now)
		if life != tc.life || ok != tc.ok {
			t.Errorf("%s: %s %v", name, life, ok)
		}
	}
	if _, ok := New().MintedUser(request(t, "ghcr.io").Host, "AWS", providers.NewSecret("x"), now); ok {
		t.Error("on a foreign host")
	}
	if g := New().LoginGroup(providers.Account{Options: &Options{SSOSession: "corp", SSORoleName: "a"}}); g != `AWS SSO session "corp"` {
		t.Errorf("group %q", g)
	}
	if g := New().LoginGroup(providers.Account{Options: &Options{Profile: "a"}}); g != "" {
		t.Errorf("group %q", g)
	}
}
