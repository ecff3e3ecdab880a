// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
	"github.com/regmint/regmint/test/fakecloud"
)

// What AWS answers becomes a line that a person can act on, of the right kind.
func TestRefusalsOfECRSayWhatToDo(t *testing.T) {
	t.Parallel()
	c := start(t)
	s := c.person(t, secrets()).configured(keys(t))
	const denied = "User: arn:aws:iam::111111111111:user/bob is not authorized to perform: ecr:GetAuthorizationToken on resource: * because no identity-based policy allows the ecr:GetAuthorizationToken action"
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   providers.Kind
		want   []string
	}{
		"access denied":   {fault(400, "AccessDeniedException", denied), providers.Denied, []string{"arn:aws:iam::111111111111:user/bob may not ecr:GetAuthorizationToken; allow it in IAM"}},
		"explicit deny":   {fault(400, "AccessDeniedException", strings.ReplaceAll(denied, "because no", "with an explicit deny in no")), providers.Denied, []string{"a policy denies it explicitly"}},
		"odd denial":      {fault(400, "AccessDeniedException", "no\x1b[31m way"), providers.Denied, []string{"access key AKIAUSER may not ecr:GetAuthorizationToken"}},
		"denial's escape": {fault(400, "AccessDeniedException", "User: arn:\x1b[2J is not authorized to perform: ecr:X on resource: arn:\x07"), providers.Denied, []string{`arn:\x1b[2J may not ecr:X on arn:\x07`}},
		"a secret echoed": {fault(400, "AccessDeniedException", "User: arn:"+canary+" is not authorized to perform: ecr:X"), providers.Denied, []string{"access key AKIAUSER may not"}},
		"expired session": {fault(400, "ExpiredTokenException", "The security token included in the request is expired"), providers.LoginRequired, []string{"the credentials of access key AKIAUSER are expired", "renew the key in env:KEY"}},
		"unknown keys":    {fault(400, "UnrecognizedClientException", "The security token included in the request is invalid."), providers.LoginRequired, []string{"AWS does not know the credentials"}},
		"wrong secret":    {fault(400, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided."), providers.LoginRequired, []string{"the secret key of access key AKIAUSER is not the one"}},
		"clock skew": {
			fault(400, "InvalidSignatureException", "Signature expired: 20261121T071857Z is now earlier than 20261121T101857Z", "Date", time.Now().Add(3*time.Hour).UTC().Format(http.TimeFormat)),
			providers.Misconfigured,
			[]string{"this machine's clock is", "behind AWS's; set the clock"},
		},
		"throttled until":  {fault(400, "ThrottlingException", "Rate exceeded", "Retry-After", "7"), providers.Unavailable, []string{"ecr:GetAuthorizationToken is throttled by AWS until 20"}},
		"server error":     {fault(500, "ServerException", "no"), providers.Unavailable, []string{"ServerException"}},
		"wrong parameter":  {fault(400, "com.amazonaws.ecr#InvalidParameterException", "Invalid parameter"), providers.Misconfigured, []string{"InvalidParameterException: Invalid parameter"}},
		"not there":        {fault(400, "UnsupportedCommandException", "no"), providers.Misconfigured, []string{"UnsupportedCommandException"}},
		"an unknown code":  {fault(400, "NovelException", "odd"), providers.Misconfigured, []string{"HTTP 400", "NovelException", "odd"}},
		"an HTML page":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(403); _, _ = w.Write([]byte("<html>")) }, providers.Denied, []string{"HTTP 403"}},
		"a good HTML page": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, providers.Unavailable, []string{"not what AWS sends (HTTP 200)"}},
	} {
		c.when(ecrToken, tc.answer)
		_, err := mint(t, s, hostOne)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		t.Run(name, func(t *testing.T) { wants(t, err, tc.kind, tc.want...) })
		e, _ := errors.AsType[*providers.Error](err)
		if strings.HasPrefix(name, "throttled") && e.RetryAfter != 7*time.Second {
			t.Errorf("RetryAfter %s", e.RetryAfter)
		}
	}
}

// H52: what is no token is refused with the reason; an expired one too.
func TestAnswersOfECRThatHoldNoTokenAreRefused(t *testing.T) {
	t.Parallel()
	c := start(t)
	s := c.person(t, secrets()).configured(keys(t))
	enc := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	soon := float64(time.Now().Add(time.Hour).Unix())
	mine := "https://" + hostOne
	for name, tc := range map[string]struct {
		token, endpoint string
		expires         any
		want            string
	}{
		"not base64":               {"!!" + canary, mine, soon, "no base64"},
		"no colon":                 {enc(canary), mine, soon, "not made of AWS and a password"},
		"another user":             {enc("root:" + canary), mine, soon, "not made of AWS and a password"},
		"no password":              {enc("AWS:"), mine, soon, "no password"},
		"a line break":             {enc("AWS:" + canary + "\nx"), mine, soon, "line break"},
		"no token":                 {"", mine, soon, "holds no token"},
		"no end":                   {enc("AWS:" + canary), mine, nil, "how long the token lives"},
		"expired":                  {enc("AWS:" + canary), mine, float64(time.Now().Add(-time.Hour).Unix()), "a token that expired at"},
		"endpoint of another host": {enc("AWS:" + canary), mine + ".evil.example", soon, "no registry of ECR"},
		"endpoint without a name":  {enc("AWS:" + canary), "https://\x1b", soon, "none of ECR"},
		"endpoint by http":         {enc("AWS:" + canary), "http://" + hostOne, soon, "none of ECR"},
		"another region":           {enc("AWS:" + canary), "https://111111111111.dkr.ecr.us-east-1.amazonaws.com", soon, "region us-east-1, not eu-west-1"},
		"a colon in the password":  {enc("AWS:a:" + canary), mine, soon, ""},
		"another account":          {enc("AWS:" + canary), "https://" + hostTwo, soon, ""},
		"no endpoint":              {enc("AWS:" + canary), "", soon, ""},
	} {
		c.when(ecrToken, func(w http.ResponseWriter, _ *http.Request) {
			d := map[string]any{"authorizationToken": tc.token}
			if tc.endpoint != "" {
				d["proxyEndpoint"] = tc.endpoint
			}
			if tc.expires != nil {
				d["expiresAt"] = tc.expires
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"authorizationData": []any{d}})
		})
		got, err := mint(t, s, hostOne)
		if tc.want == "" {
			if err != nil || !strings.HasSuffix(got.Secret.Reveal(), canary) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		t.Run(name, func(t *testing.T) { wants(t, err, providers.Unavailable, tc.want) })
	}
	c.when(ecrToken, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"authorizationData":[]}`)) })
	_, err := mint(t, s, hostOne)
	wants(t, err, providers.Unavailable, "no authorization data")
}

func TestRefusalsOfSTSSayWhatToDo(t *testing.T) {
	t.Parallel()
	c := start(t)
	role := keys(t)
	role.RoleARN = []string{roleCI}
	web := &Options{RoleARN: []string{roleCI}}
	if err := web.WebIdentity.UnmarshalText([]byte("env:JWT")); err != nil {
		t.Fatal(err)
	}
	sec := secrets()
	sec["env:JWT"] = c.Issuer(fakecloud.GitLabIssuer).Sign("project_path:acme/app", "sts.amazonaws.com", nil)
	p := c.person(t, sec)
	for _, tc := range []struct {
		o    *Options
		f    http.HandlerFunc
		kind providers.Kind
		want []string
	}{
		{role, refusal(403, "AccessDenied", "User: arn:aws:iam::111111111111:user/bob is not authorized to perform: sts:AssumeRole on resource: "+roleCI), providers.Denied, []string{"user/bob may not sts:AssumeRole on 111111111111:role/ci", "trust policy"}},
		{role, refusal(403, "ExpiredToken", "x"), providers.LoginRequired, []string{"credentials of access key AKIAUSER are expired"}},
		{role, refusal(403, "InvalidClientTokenId", "x"), providers.LoginRequired, []string{"AWS does not know"}},
		{role, refusal(403, "SignatureDoesNotMatch", "x"), providers.LoginRequired, []string{"secret key"}},
		{role, refusal(400, "PackedPolicyTooLarge", "x"), providers.Misconfigured, []string{"too large", "name fewer repositories"}},
		{role, refusal(403, "RegionDisabledException", "x"), providers.Misconfigured, []string{"STS is switched off in eu-west-1"}},
		{role, refusal(400, "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."), providers.Misconfigured, []string{"111111111111:role/ci gives no session that long"}},
		{role, refusal(400, "MalformedPolicyDocument", "x"), providers.Misconfigured, []string{"MalformedPolicyDocument"}},
		{role, refusal(503, "ServiceUnavailable", "x"), providers.Unavailable, []string{"ServiceUnavailable"}},
		{web, refusal(403, "AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity"), providers.Denied, []string{"111111111111:role/ci does not accept this identity token", "subject and audience"}},
		{web, refusal(400, "InvalidIdentityToken", "No OpenIDConnect provider found in your account for https://gitlab.com"), providers.Misconfigured, []string{"No OpenIDConnect provider found", "identity provider of the AWS account"}},
		{web, refusal(400, "ExpiredTokenException", "Token expired"), providers.LoginRequired, []string{"the identity token is expired"}},
		{web, refusal(403, "IDPRejectedClaim", "x"), providers.Denied, []string{"trust policy of 111111111111:role/ci"}},
		{web, refusal(400, "IDPCommunicationError", "x"), providers.Unavailable, []string{"IDPCommunicationError"}},
	} {
		c.when("AssumeRole", tc.f)
		c.when("AssumeRoleWithWebIdentity", tc.f)
		_, err := mint(t, p.configured(tc.o), hostOne)
		wants(t, err, tc.kind, tc.want...)
		if len(httpxtest.Leaks(err.Error(), sec["env:JWT"])) > 0 {
			t.Errorf("the token in %v", err)
		}
	}
}

func TestEveryFaultOfTheNetworkIsOneLineInTime(t *testing.T) {
	t.Parallel()
	ca := httpxtest.NewCA(t)
	for _, f := range httpxtest.Faults() {
		t.Run(f.Name, func(t *testing.T) {
			t.Parallel()
			addr := f.Start(t, ca)
			for _, who := range []string{"ecr", "sts"} {
				deps, log := httpxtest.Deps(t, secrets())
				o := keys(t)
				a := providers.Account{Name: "a", CAFile: ca.File(), NoProxy: "none.invalid", Options: o}
				if who == "sts" {
					o.RoleARN, o.STSEndpoint = []string{roleCI}, "https://"+addr
				} else {
					a.Endpoint = "https://" + addr
				}
				s, err := New().Open(a, deps)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), httpxtest.Limit(f))
				_, err = s.Mint(ctx, request(t, hostOne))
				cancel()
				if err == nil {
					t.Fatalf("%s: no failure", who)
				}
				judge(t, err)
				kind := f.Kind
				if kind == "" {
					kind = providers.KindOf(err)
					if kind != providers.Unavailable && kind != providers.Misconfigured {
						t.Errorf("%s: %s is not its kind: %v", who, kind, err)
					}
				}
				want := f.Want
				switch {
				case who == "sts" && f.Name == "gzip bomb": // the SDK's XML reader drops the cause
					want = "not what AWS sends"
				case who == "sts" && (strings.HasPrefix(f.Name, "malformed") || strings.HasPrefix(f.Name, "TLS asks")): // or the write fails first
					want = ""
				}
				wants(t, err, kind, want)
				if l := httpxtest.Leaks(log.String(), canary); len(l) > 0 {
					t.Errorf("a secret in the log: %s", log)
				}
			}
		})
	}
}

func TestAProxyThatWantsALoginIsNamed(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.ProxyAuth("u:p")
	_, err := mint(t, c.person(t, secrets()).configured(keys(t)), hostOne)
	wants(t, err, providers.Misconfigured, "asks for a login (HTTP 407)", "https_proxy")
}

// The life of a token counts on AWS's clock where this machine's is wrong: H54.
func TestATokenOfAMachineWithAWrongClockIsServed(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.when(ecrToken, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-20*time.Hour).UTC().Format(http.TimeFormat))
		_, _ = fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d}]}`, base64.StdEncoding.EncodeToString([]byte("AWS:"+canary)), time.Now().Add(-8*time.Hour).Unix())
	})
	cred := mustMint(t, c.person(t, secrets()).configured(keys(t)), hostOne)
	if left := time.Until(cred.ExpiresAt); left < 11*time.Hour || left > 12*time.Hour+time.Minute {
		t.Errorf("expires in %s", left)
	}
}

func TestMistakesInAnAccountAreNamed(t *testing.T) {
	t.Parallel()
	for want, edit := range map[string]func(*providers.Account, *Options){
		"":                          func(*providers.Account, *Options) {},
		"profile and access_key_id": func(_ *providers.Account, o *Options) { o.Profile = "p" },
		"secret_access_key is miss": func(_ *providers.Account, o *Options) { o.SecretAccessKey = providers.SecretRef{} },
		"access_key_id is missing":  func(_ *providers.Account, o *Options) { o.AccessKeyID = "" },
		"username has no meaning":   func(a *providers.Account, _ *Options) { a.Username = "ci" },
		"password has no meaning":   func(a *providers.Account, _ *Options) { a.Password = providers.SecretRef{Scheme: "env", Value: "X"} },
		"rotate has no meaning":     func(a *providers.Account, _ *Options) { a.Rotate = 1 },
		"expires_in has no meaning": func(a *providers.Account, _ *Options) { a.ExpiresIn = 1 },
		"is no role":                func(_ *providers.Account, o *Options) { o.RoleARN = []string{"arn:aws:iam::1:role/x"} },
		"belong to role_arn":        func(_ *providers.Account, o *Options) { o.ExternalID = "x" },
		"from 15m to 12h":           func(_ *providers.Account, o *Options) { o.RoleARN, o.Duration = []string{roleCI}, 1 },
		"lives 1h at most": func(_ *providers.Account, o *Options) {
			o.RoleARN, o.Duration = []string{roleCI, roleInner}, providers.Duration(2*time.Hour)
		},
		"session_name has": func(_ *providers.Account, o *Options) { o.SessionName = "a b" },
		"web_identity needs role": func(_ *providers.Account, o *Options) {
			*o = Options{}
			_ = o.WebIdentity.UnmarshalText([]byte("github"))
		},
		"audience belongs":          func(_ *providers.Account, o *Options) { o.Audience = "x" },
		"sso_session, or sso_start": func(_ *providers.Account, o *Options) { *o = Options{SSORoleName: "x"} },
		"sso_role_name is missing":  func(_ *providers.Account, o *Options) { *o = Options{SSOSession: "x"} },
		"belong together": func(_ *providers.Account, o *Options) {
			*o = Options{SSOSession: "x", SSORegion: "y", SSORoleName: "z"}
		},
		"12 digits": func(_ *providers.Account, o *Options) {
			*o = Options{SSOSession: "x", SSORoleName: "z", SSOAccountID: "1"}
		},
		"an absolute path":          func(_ *providers.Account, o *Options) { *o = Options{CredentialProcess: []string{"creds"}} },
		"container_token belongs":   func(_ *providers.Account, o *Options) { o.ContainerToken = o.SecretAccessKey },
		"only loopback and":         func(_ *providers.Account, o *Options) { *o = Options{ContainerURI: "http://10.0.0.1/x"} },
		"endpoint: must be https":   func(a *providers.Account, _ *Options) { a.Endpoint = "http://ecr.example" },
		"sts_endpoint: must be an":  func(_ *providers.Account, o *Options) { o.STSEndpoint = "https://u:p@x" },
		"is no region":              func(_ *providers.Account, o *Options) { o.Region = "eu west" },
		"is no registry of ECR":     func(_ *providers.Account, o *Options) { o.Registry = map[string]string{"a.example": "b.example"} },
		"registry: invalid server":  func(_ *providers.Account, o *Options) { o.Registry = map[string]string{"http://a": hostOne} },
		"no registry of ECR by its": func(a *providers.Account, _ *Options) { a.Hosts = patterns("reg.example") },
		"account \"a\": options of": func(a *providers.Account, _ *Options) { a.Options = &struct{}{} },
		"ca_file /absent":           func(a *providers.Account, _ *Options) { a.CAFile = "/absent" },
	} {
		o := keys(t)
		a := providers.Account{Name: "a", Options: o}
		edit(&a, o)
		_, err := New().Open(a, providers.Deps{})
		if want == "" {
			if err != nil {
				t.Error(err)
			}
			continue
		}
		if err == nil || providers.KindOf(err) != providers.Misconfigured || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func patterns(ss ...string) []providers.Pattern {
	var out []providers.Pattern
	for _, s := range ss {
		p, err := providers.ParsePattern(s)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

func TestBrokenFilesOfAWSAreNamed(t *testing.T) {
	t.Parallel()
	p := start(t).person(t, nil)
	p.file(".aws/config", "[profile a]\nrole_arn = "+roleCI+"\nsource_profile = b\n[profile b]\nrole_arn = "+roleCI+"\nsource_profile = a\n[profile c]\nrole_arn = nonsense\nsource_profile = k\n[profile k]\naws_access_key_id = A\naws_secret_access_key = "+canary+"\n[profile u]\nrole_arn = "+roleCI+"\ncredential_source = Moon\n[profile q]\ncredential_process = \"x\n")
	for profile, want := range map[string]string{"a": "", "c": "role_arn is no role", "u": "", "q": "a quote is not closed"} {
		_, err := mint(t, p.configured(&Options{Profile: profile}), hostOne)
		wants(t, err, providers.Misconfigured, "profile", want)
	}
	p.file(".aws/credentials", strings.Repeat("x", maxFile+1))
	_, err := mint(t, p.configured(&Options{Profile: "k"}), hostOne)
	wants(t, err, providers.Misconfigured, "larger than 1 MiB")
	_, err = mint(t, p.ambient(envConfig, "relative"), hostOne)
	wants(t, err, providers.Misconfigured)
	_, err = mint(t, p.ambient(envConfig, p.home), hostOne)
	wants(t, err, providers.Misconfigured, "not a regular file")
}

func TestACheckAsksForARepositoryWithoutListingIt(t *testing.T) {
	t.Parallel()
	c := start(t)
	var asked []string
	answer := func(w http.ResponseWriter, status int, code, message string) {
		fakecloud.WriteJSON(w, status, map[string]any{"errors": []any{map[string]string{"code": code, "message": message}}})
	}
	c.Handle(hostOne, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		u, p, _ := r.BasicAuth()
		switch {
		case u != "AWS" || p != canary:
			w.Header().Set("WWW-Authenticate", `Basic realm="https://`+hostOne+`/",service="ecr.amazonaws.com"`)
			w.WriteHeader(401)
		case r.URL.Path == "/v2/":
			w.WriteHeader(200)
		case strings.HasPrefix(r.URL.Path, "/v2/good/"):
			answer(w, 404, "MANIFEST_UNKNOWN", "Requested image not found")
		case strings.HasPrefix(r.URL.Path, "/v2/absent/"):
			answer(w, 404, "NAME_UNKNOWN", "The repository with name 'absent' does not exist")
		default:
			answer(w, 403, "DENIED", "User: arn:aws:iam::111111111111:user/bob is not authorized to perform: ecr:BatchGetImage on resource: x")
		}
	}))
	v := c.person(t, secrets()).configured(keys(t)).(providers.Verifier)
	cred := providers.Credential{Username: "AWS", Secret: providers.NewSecret(canary)}
	pull := func(name string) providers.Grant { return providers.Grant{Repository: name, Access: providers.Pull} }
	if err := v.Verify(t.Context(), request(t, hostOne, pull("good"), providers.Grant{Access: providers.Push}, providers.Grant{Repository: "other", Access: providers.Delete}), cred); err != nil {
		t.Error(err)
	}
	wants(t, v.Verify(t.Context(), request(t, hostOne, pull("absent")), cred), providers.Denied, "the registry has no repository absent")
	wants(t, v.Verify(t.Context(), request(t, hostOne, pull("closed")), cred), providers.Denied, "user/bob may not ecr:BatchGetImage on closed")
	wants(t, v.Verify(t.Context(), request(t, hostOne), providers.Credential{Username: "AWS", Secret: providers.NewSecret("wrong-" + canary)}), providers.LoginRequired)
	for _, path := range asked {
		if strings.Contains(path, "tags/list") {
			t.Errorf("asked %s", path)
		}
	}
}
