// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/test/fakecloud"
)

const ecrToken = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func ref(t *testing.T, s string) providers.SecretRef {
	t.Helper()
	r, err := providers.ParseSecretRef(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func keys(t *testing.T) *Options {
	return &Options{AccessKeyID: "AKIAUSER", SecretAccessKey: ref(t, "env:KEY")}
}

func secrets() map[string]string { return map[string]string{"env:KEY": canary, "env:TOKEN": canary} }

// The host alone says which API is asked, for which region it is signed, and
// over which of AWS's endpoints.
func TestTheHostChoosesRegionAndEndpoint(t *testing.T) {
	t.Parallel()
	c := start(t)
	s := c.person(t, secrets()).configured(keys(t))
	for host, want := range map[string]string{
		hostOne: "api.ecr.eu-west-1.amazonaws.com eu-west-1/ecr",
		"111111111111.dkr.ecr-fips.us-east-1.amazonaws.com": "api.ecr-fips.us-east-1.amazonaws.com us-east-1/ecr",
		"111111111111.dkr-ecr.eu-west-1.on.aws":             "ecr.eu-west-1.api.aws eu-west-1/ecr",
		"111111111111.dkr-ecr-fips.us-east-1.on.aws":        "ecr-fips.us-east-1.api.aws us-east-1/ecr",
		"111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn":  "api.ecr.cn-north-1.amazonaws.com.cn cn-north-1/ecr",
		"111111111111.dkr.ecr.us-gov-west-1.amazonaws.com":  "api.ecr.us-gov-west-1.amazonaws.com us-gov-west-1/ecr",
		"public.ecr.aws":     "api.ecr-public.us-east-1.amazonaws.com us-east-1/ecr-public",
		"ecr-public.aws.com": "ecr-public.us-east-1.api.aws us-east-1/ecr-public",
	} {
		before := len(c.calls)
		cred := mustMint(t, s, host)
		if len(c.calls) != before+1 {
			t.Fatalf("%s: %d calls", host, len(c.calls)-before)
		}
		got := c.calls[before]
		day, scope, _ := strings.Cut(strings.TrimSuffix(got.Scope, "/aws4_request"), "/")
		if got.Host+" "+scope != want || got.Key != "AKIAUSER" || len(day) != 8 || got.Body != "{}" {
			t.Errorf("%s: %+v", host, got)
		}
		if left := time.Until(cred.ExpiresAt); left < 11*time.Hour || left > 12*time.Hour || cred.Wider {
			t.Errorf("%s: %+v", host, cred)
		}
	}
}

func TestRolesAreAssumedOneAfterTheOther(t *testing.T) {
	t.Parallel()
	c := start(t)
	o := keys(t)
	o.SessionToken, o.RoleARN, o.ExternalID, o.SessionName, o.Duration = ref(t, "env:TOKEN"), []string{roleCI, roleInner}, "ext", "job 7", providers.Duration(20*time.Minute)
	o.SessionName = "job-7"
	cred := mustMint(t, c.person(t, secrets()).configured(o), hostOne)
	calls := c.all("AssumeRole")
	if len(calls) != 2 || calls[0].Form.Get("RoleArn") != roleCI || calls[1].Form.Get("RoleArn") != roleInner || calls[0].Host != "sts.eu-west-1.amazonaws.com" {
		t.Fatalf("%+v", calls)
	}
	if calls[0].Form.Has("ExternalId") || calls[0].Form.Has("DurationSeconds") || calls[1].Form.Get("ExternalId") != "ext" || calls[1].Form.Get("DurationSeconds") != "1200" {
		t.Errorf("external id and duration: %+v", calls)
	}
	if calls[0].Key != "AKIAUSER" || !strings.HasPrefix(calls[1].Key, "ASIA") || !strings.HasPrefix(c.all(ecrToken)[0].Key, "ASIA") {
		t.Errorf("keys: %+v", c.calls)
	}
	if calls[1].Form.Get("RoleSessionName") != "job-7" || calls[1].Form.Has("Policy") {
		t.Errorf("%+v", calls[1].Form)
	}
	// Never past the end of the session that made it.
	if left := time.Until(cred.ExpiresAt); left > time.Hour || left < 50*time.Minute {
		t.Errorf("expires in %s", left)
	}
	if !strings.Contains(cred.Origin, "role/inner") {
		t.Errorf("origin %q", cred.Origin)
	}
}

func TestWebIdentityOfGitHubIsExchangedUnsigned(t *testing.T) {
	t.Parallel()
	c := start(t)
	r := c.GitHubRunner("repo:acme/app:ref:refs/heads/main")
	p := c.person(t, map[string]string{"env:ACTIONS_ID_TOKEN_REQUEST_URL": r.URL, "env:ACTIONS_ID_TOKEN_REQUEST_TOKEN": r.Token})
	o := &Options{RoleARN: []string{roleCI}}
	if err := o.WebIdentity.UnmarshalText([]byte("github")); err != nil {
		t.Fatal(err)
	}
	s := p.configured(o)
	mustMint(t, s, hostOne)
	cred := mustMint(t, s, hostOne, providers.Grant{Repository: "acme/app", Access: providers.Pull})
	calls := c.all("AssumeRoleWithWebIdentity")
	if len(calls) != 2 || calls[0].Key != "" || calls[0].Form.Has("Policy") || !strings.Contains(calls[1].Form.Get("Policy"), "repository/acme/app") || cred.Wider {
		t.Fatalf("%+v", calls)
	}
	if claims, err := c.Identity(calls[0].Form.Get("WebIdentityToken"), "sts.amazonaws.com"); err != nil || calls[0].Form.Get("WebIdentityToken") == calls[1].Form.Get("WebIdentityToken") {
		t.Errorf("%v %v", claims, err)
	}
}

func TestAmbientIdentityFollowsTheOrderOfTheSDKs(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/config", "[default]\nregion = us-west-2\n[profile dev]\naws_access_key_id = AKIADEV\naws_secret_access_key = "+canary+"\n[profile chained]\nrole_arn = "+roleCI+"\nsource_profile = dev\nrole_session_name = jane\nduration_seconds = 900\n[profile env]\nrole_arn = "+roleCI+"\ncredential_source = Environment\n")
	p.file(".aws/credentials", "[default]\naws_access_key_id = AKIADEFAULT\naws_secret_access_key = "+canary+"\n")
	token := p.file("token", c.Issuer(fakecloud.EKSIssuer).Sign("system:serviceaccount:ci:runner", "sts.amazonaws.com", nil))
	for name, tc := range map[string]struct {
		env  []string
		want string
	}{
		"the default profile":             {nil, "AKIADEFAULT"},
		"a profile":                       {[]string{envProfile, "dev"}, "AKIADEV"},
		"the old name of it":              {[]string{envDefaultProfile, "dev"}, "AKIADEV"},
		"keys before a profile":           {[]string{envProfile, "dev", envKeyID, "AKIAENV", envSecret, canary}, "AKIAENV"},
		"web identity before a profile":   {[]string{envProfile, "dev", envWebFile, token, envRole, roleCI, envRoleName, "pod"}, "AssumeRoleWithWebIdentity pod"},
		"a role of a profile":             {[]string{envProfile, "chained"}, "AssumeRole jane AKIADEV 900"},
		"a role with the terminal's keys": {[]string{envProfile, "env", envKeyID, "", envSecret, ""}, ""},
	} {
		before := len(c.calls)
		cred, err := mint(t, p.ambient(tc.env...), hostOne)
		if tc.want == "" {
			wants(t, err, providers.Misconfigured, "credential_source is Environment")
			continue
		}
		if err != nil || cred.Wider {
			t.Errorf("%s: %v", name, err)
			continue
		}
		first := c.calls[before]
		got := first.Key
		if first.Action != ecrToken {
			got = strings.TrimSpace(strings.Join([]string{first.Action, first.Form.Get("RoleSessionName"), first.Key, first.Form.Get("DurationSeconds")}, " "))
		}
		if got != tc.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTwoProfilesAreTwoIdentities(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/credentials", "[a]\naws_access_key_id = AKIAA\naws_secret_access_key = "+canary+"\n[b]\naws_access_key_id = AKIAB\naws_secret_access_key = "+canary+"\n")
	mustMint(t, p.ambient(envProfile, "a"), hostOne)
	mustMint(t, p.ambient(envProfile, "b"), hostOne)
	if got := c.all(ecrToken); got[0].Key != "AKIAA" || got[1].Key != "AKIAB" {
		t.Errorf("%+v", got)
	}
}

func TestAConfiguredAccountReadsNothingOfTheTerminal(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/credentials", "[a]\naws_access_key_id = AKIAA\naws_secret_access_key = "+canary+"\n")
	p.deps.Env = map[string]string{}
	mustMint(t, p.configured(&Options{Profile: "a"}), hostOne)
	if got := c.all(ecrToken); got[0].Key != "AKIAA" {
		t.Errorf("%+v", got)
	}
	_, err := mint(t, p.configured(&Options{Profile: "absent"}), hostOne)
	wants(t, err, providers.Misconfigured, `AWS has no profile "absent"`)
}

func TestNobodyIsNoAccountWhereNothingWasConfigured(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	_, err := mint(t, p.ambient(envNoMetadata, "true"), hostOne)
	wants(t, err, providers.NoAccount, "no AWS identity here", "no profile in ~/.aws")
	_, err = mint(t, p.ambient(envNoMetadata, "true"), "public.ecr.aws")
	wants(t, err, providers.NoAccount, "no AWS identity here")
	if got := c.Reached(); len(got) > 0 {
		t.Errorf("reached %q", got)
	}
}

func TestANamedProfileThatHoldsNothingIsNamed(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/config", "[default]\nregion = eu-west-1\n[profile empty]\nregion = eu-west-1\n")
	_, err := mint(t, p.ambient(envProfile, "empty", envNoMetadata, "true"), hostOne)
	wants(t, err, providers.Misconfigured, `profile "empty" holds no credentials`)
	_, err = mint(t, p.ambient(envNoMetadata, "true"), hostOne)
	wants(t, err, providers.NoAccount, "no AWS identity here")
}

func TestECRPublicStaysOpenToEverybodyWhereAFoundIdentityFails(t *testing.T) {
	t.Parallel()
	c := start(t)
	c.when("SpencerFrontendService.GetAuthorizationToken", fault(400, "AccessDeniedException", "User: arn:aws:iam::111111111111:user/bob is not authorized to perform: sts:GetServiceBearerToken on resource: arn:aws:sts::111111111111:self"))
	s := c.person(t, nil).ambient(envKeyID, "AKIAENV", envSecret, canary)
	_, err := mint(t, s, "public.ecr.aws")
	wants(t, err, providers.NoAccount, "arn:aws:iam::111111111111:user/bob may not sts:GetServiceBearerToken")
	_, err = mint(t, s, "public.ecr.aws", providers.Grant{Repository: "acme/app", Access: providers.Push})
	wants(t, err, providers.Denied, "sts:GetServiceBearerToken")
	_, err = mint(t, c.person(t, secrets()).configured(keys(t)), "public.ecr.aws")
	wants(t, err, providers.Denied, "may not sts:GetServiceBearerToken")
}

func TestKeysThatRotateAreOneIdentity(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	end := time.Now().Add(40 * time.Minute).UTC().Format(time.RFC3339)
	p.out = []string{
		`{"Version":1,"AccessKeyId":"ASIA1","SecretAccessKey":"` + canary + `","SessionToken":"y","Expiration":"` + end + `"}`,
		`{"Version":1,"AccessKeyId":"ASIA2","SecretAccessKey":"` + canary + `","SessionToken":"y","Expiration":"` + end + `"}`,
	}
	s := p.configured(&Options{CredentialProcess: []string{"/opt/creds", "--json"}})
	before := s.Key(request(t, hostOne))
	cred := mustMint(t, s, hostOne)
	if left := time.Until(cred.ExpiresAt); left > 40*time.Minute || left < 39*time.Minute {
		t.Errorf("expires in %s", left)
	}
	mustMint(t, s, hostOne)
	if got := c.all(ecrToken); got[0].Key != "ASIA1" || got[1].Key != "ASIA2" || s.Key(request(t, hostOne)) != before {
		t.Errorf("%+v", got)
	}
	_, err := mint(t, s, hostOne)
	wants(t, err, providers.Unavailable, "credential_process: /opt/creds: exit 1")
}

func TestProgramsOfProfilesRunOnlyFromTheUsersOwnFiles(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	text := "[profile p]\ncredential_process = \"/opt/my creds\" --for 'a b' c\\ d\n"
	p.file(".aws/config", text)
	p.out = []string{`{"Version":1,"AccessKeyId":"AKIAP","SecretAccessKey":"` + canary + `"}`}
	var ran providers.Command
	inner := p.deps.Run
	p.deps.Run = func(ctx context.Context, cmd providers.Command) ([]byte, error) { ran = cmd; return inner(ctx, cmd) }
	mustMint(t, p.ambient(envProfile, "p"), hostOne)
	if ran.Path != "/opt/my creds" || !slices.Equal(ran.Args, []string{"--for", "a b", "c d"}) {
		t.Errorf("%+v", ran)
	}
	other := p.file("job/config", text)
	_, err := mint(t, p.ambient(envProfile, "p", envConfig, other), hostOne)
	wants(t, err, providers.Misconfigured, "wants to run a program")
	if p.ran != 1 {
		t.Errorf("ran %d times", p.ran)
	}
}

// A circle of programs would end with the machine.
func TestAProfileThatAsksRegmintIsNotAskedByRegmint(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	const process = "credential_process = /usr/local/bin/regmint get x --native --format credential-process\n"
	p.file(".aws/config", "[default]\n"+process+"[profile cleanup]\n"+process)
	p.out = []string{`{"Version":1,"AccessKeyId":"AKIAP","SecretAccessKey":"` + canary + `"}`}
	for name, s := range map[string]providers.Source{
		"recognised": p.ambient(), "a profile": p.configured(&Options{Profile: "cleanup"}),
		"an account": p.configured(&Options{CredentialProcess: []string{"/opt/regmint", "get", "x"}}),
	} {
		_, err := mint(t, s, hostOne)
		wants(t, err, providers.Misconfigured, "asks regmint, which would ask it again", "set profile")
		if p.ran != 0 {
			t.Fatalf("%s: it ran", name)
		}
	}
	// The agent runs it without the caller's AWS_PROFILE: there is no circle.
	mustMint(t, p.ambient(envProfile, "cleanup"), hostOne)
}

func TestProfilesThatNeedAPersonSaySo(t *testing.T) {
	t.Parallel()
	p := start(t).person(t, nil)
	p.file(".aws/config", "[profile mfa]\nrole_arn = "+roleCI+"\nsource_profile = keys\nmfa_serial = arn:aws:iam::111111111111:mfa/jane\n[profile login]\nlogin_session = arn:aws:iam::111111111111:user/jane\n[profile keys]\naws_access_key_id = A\naws_secret_access_key = "+canary+"\n")
	_, err := mint(t, p.configured(&Options{Profile: "mfa"}), hostOne)
	wants(t, err, providers.Misconfigured, `profile "mfa" asks for an MFA code`)
	_, err = mint(t, p.configured(&Options{Profile: "login"}), hostOne)
	wants(t, err, providers.Misconfigured, "aws login", "aws configure export-credentials --profile login --format process")
}

func TestAForgottenProfileIsNamedWhereOneFits(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	p.file(".aws/credentials", "[dev]\naws_access_key_id = AKIADEV\naws_secret_access_key = "+canary+"\n")
	mustMint(t, p.ambient(envProfile, "dev"), hostTwo) // a repository policy may let it in
	p.file(".aws/config", "[profile prod]\nsso_session = corp\nsso_account_id = 222222222222\nsso_role_name = Dev\n[profile ops]\nrole_arn = arn:aws:iam::222222222222:role/ops\nsource_profile = dev\n[profile other]\nrole_arn = arn:aws:iam::333333333333:role/x\n")
	_, err := mint(t, p.ambient(envProfile, "dev"), hostTwo)
	wants(t, err, providers.Misconfigured, `host is account 222222222222, profile "dev" is 111111111111; matching profiles: ops, prod`)
	mustMint(t, p.ambient(envProfile, "dev"), hostOne)
	mustMint(t, p.configured(&Options{Profile: "dev"}), hostTwo)
}

// A session policy is asked for only where a target asks for less.
func TestGrantsNarrowTheSessionOfARole(t *testing.T) {
	t.Parallel()
	c := start(t)
	o := keys(t)
	o.RoleARN = []string{roleCI}
	s := c.person(t, secrets()).configured(o)
	gs := []providers.Grant{{Repository: "acme/app", Access: providers.Push}, {Repository: "base", Access: providers.Pull}, {Repository: "old", Access: providers.Delete}}
	if cred := mustMint(t, s, hostOne, gs...); cred.Wider {
		t.Error("wider")
	}
	var got struct {
		Statement []struct {
			Action   []string
			Resource any
		}
	}
	if err := json.Unmarshal([]byte(c.all("AssumeRole")[0].Form.Get("Policy")), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"*": "ecr:GetAuthorizationToken",
		"arn:aws:ecr:eu-west-1:111111111111:repository/base":     "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer",
		"arn:aws:ecr:eu-west-1:111111111111:repository/acme/app": "ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:CompleteLayerUpload ecr:GetDownloadUrlForLayer ecr:InitiateLayerUpload ecr:PutImage ecr:UploadLayerPart",
		"arn:aws:ecr:eu-west-1:111111111111:repository/old":      "ecr:BatchDeleteImage",
	}
	if len(got.Statement) != len(want) {
		t.Errorf("%+v", got)
	}
	for _, st := range got.Statement {
		res, _ := st.Resource.(string)
		if l, ok := st.Resource.([]any); ok && len(l) == 1 {
			res, _ = l[0].(string)
		}
		if want[res] != strings.Join(st.Action, " ") {
			t.Errorf("%s: %q", res, st.Action)
		}
	}
	if cred := mustMint(t, c.person(t, secrets()).configured(keys(t)), hostOne, gs...); !cred.Wider {
		t.Error("without a role nothing narrows")
	}
}

func TestTheARNsOfAPolicyFollowTheHost(t *testing.T) {
	t.Parallel()
	c := start(t)
	o := keys(t)
	o.RoleARN, o.PullThrough = []string{roleCI}, true
	o.Registry = map[string]string{"reg.example": hostOne, "hub.example": hostTwo + "/docker-hub"}
	p := c.person(t, secrets())
	s := p.configured(o)
	for host, want := range map[string]string{
		"111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn": "arn:aws-cn:ecr:cn-north-1:111111111111:repository/a/b",
		"111111111111.dkr.ecr.us-gov-west-1.amazonaws.com": "arn:aws-us-gov:ecr:us-gov-west-1:111111111111:repository/a/b",
		"reg.example":    "arn:aws:ecr:eu-west-1:111111111111:repository/a/b",
		"hub.example":    "arn:aws:ecr:eu-west-1:222222222222:repository/docker-hub/a/b",
		"public.ecr.aws": "arn:aws:ecr-public::111111111111:repository/b",
	} {
		own := *o
		own.RoleARN = []string{strings.Replace(roleCI, "arn:aws:", want[:strings.Index(want[4:], ":")+5], 1)}
		mustMint(t, p.configured(&own), host, providers.Grant{Repository: "a/b", Access: providers.Pull})
		calls := c.all("AssumeRole")
		if p := calls[len(calls)-1].Form.Get("Policy"); !strings.Contains(p, `"`+want+`"`) || strings.Contains(p, "BatchImportUpstreamImage") == (host == "public.ecr.aws") {
			t.Errorf("%s: %s", host, p)
		}
	}
	mustMint(t, s, hostOne, providers.Grant{Access: providers.Pull})
	calls := c.all("AssumeRole")
	if p := calls[len(calls)-1].Form.Get("Policy"); !strings.Contains(p, ":repository/*") || strings.Contains(p, "PutImage") {
		t.Errorf("every repository: %s", p)
	}
	_, err := mint(t, s, "other.example")
	wants(t, err, providers.Misconfigured, "no registry of ECR by its name")
	_, err = mint(t, s, hostOne, providers.Grant{Repository: "Acme", Access: providers.Pull})
	wants(t, err, providers.Misconfigured, "no name of a repository")
}

func TestATooLongPolicyNamesWhatToDrop(t *testing.T) {
	t.Parallel()
	c := start(t)
	o := keys(t)
	o.RoleARN = []string{roleCI}
	s := c.person(t, secrets()).configured(o)
	var gs []providers.Grant
	for i := range 40 {
		gs = append(gs, providers.Grant{Repository: "team/service-" + string(rune('a'+i/26)) + string(rune('a'+i%26)), Access: providers.Pull})
	}
	_, err := mint(t, s, hostOne, gs...)
	wants(t, err, providers.Misconfigured, "40 repositories", "AWS takes 2048", "drop team/service-")
	if len(c.calls) > 0 {
		t.Error("AWS was asked")
	}
	fits := 0
	for n := range gs {
		if _, err := mint(t, s, hostOne, gs[:n+1]...); err != nil {
			break
		}
		fits = n + 1
	}
	if fits < 15 || !strings.Contains(err.Error(), "drop "+gs[fits].Repository+",") {
		t.Errorf("%d fit, and yet %v", fits, err)
	}
	for _, call := range c.all("AssumeRole") {
		if n := len(call.Form.Get("Policy")); n > 2048 {
			t.Errorf("%d characters were sent", n)
		}
	}
}

func TestNativeIsASessionNeverTheKeysOfAUser(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, secrets())
	s := p.configured(keys(t))
	n, err := s.(providers.NativeMinter).MintNative(t.Context(), request(t, hostOne))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, v := range n.Env {
		names = append(names, v.Name)
	}
	if !slices.Equal(names, []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"}) || n.Env[3].Value.Reveal() != "eu-west-1" {
		t.Errorf("%q", names)
	}
	if len(c.all("GetSessionToken")) != 1 || n.Username == "AKIAUSER" || n.Env[2].Value.IsZero() || n.ExpiresAt.IsZero() {
		t.Errorf("%+v", n)
	}
	o := keys(t)
	o.RoleARN = []string{roleCI}
	n, err = p.configured(o).(providers.NativeMinter).MintNative(t.Context(), request(t, hostOne, providers.Grant{Repository: "a", Access: providers.Delete}))
	if err != nil || n.Wider {
		t.Fatalf("%+v %v", n, err)
	}
	if policy := c.all("AssumeRole")[0].Form.Get("Policy"); !strings.Contains(policy, "ecr:BatchDeleteImage") || !strings.Contains(policy, "ecr:ListImages") || strings.Contains(policy, "PutImage") {
		t.Errorf("%s", policy)
	}
}

func TestTheMachinesRoleIsAskedByIMDSv2(t *testing.T) {
	t.Parallel()
	c := start(t)
	url := c.Plain("imds", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds"))
			_, _ = w.Write([]byte("imds-token"))
		case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "imds-token":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
			_, _ = w.Write([]byte("node"))
		case r.URL.Path == "/latest/meta-data/iam/security-credentials/node":
			fakecloud.WriteJSON(w, 200, map[string]any{"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIANODE", "SecretAccessKey": canary, "Token": canary, "Expiration": time.Now().Add(6 * time.Hour).UTC().Format(time.RFC3339)})
		default:
			http.NotFound(w, r)
		}
	}))
	p := c.person(t, nil)
	cred := mustMint(t, p.configured(&Options{MetadataEndpoint: url}), hostOne)
	if c.all(ecrToken)[0].Key != "ASIANODE" || cred.Origin != "this machine's role" {
		t.Errorf("%+v", cred)
	}
	c.Inject(fakecloud.Fault{Host: "imds", Status: 500})
	var err error
	for range 30 { // a slow machine's second is over before the answer
		if _, err = mint(t, p.configured(&Options{MetadataEndpoint: url}), hostOne); providers.KindOf(err) == providers.Unavailable {
			break
		}
	}
	wants(t, err, providers.Unavailable, "metadata service: HTTP 500")
}

func TestAMachineWithoutAMetadataServiceIsAskedOnce(t *testing.T) {
	t.Parallel()
	c := start(t)
	url := c.Plain("imds", http.HandlerFunc(func(_ http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }))
	c.Inject(fakecloud.Fault{Host: "imds", Cut: true})
	s := c.person(t, nil).configured(&Options{MetadataEndpoint: url})
	begin := time.Now()
	done := make(chan error)
	for range 20 {
		go func() {
			_, err := s.Mint(t.Context(), request(t, hostOne))
			done <- err
		}()
	}
	for range 20 {
		wants(t, <-done, providers.Misconfigured, "no AWS identity here", "regmint login "+hostOne)
	}
	if n := c.Count(func(r fakecloud.Request) bool { return r.Host == "imds" }); n == 0 || n > 3 {
		t.Errorf("%d questions in %s", n, time.Since(begin))
	}
}

func TestAContainersRoleIsAskedOnThisMachineOnly(t *testing.T) {
	t.Parallel()
	c := start(t)
	url := c.Plain("ecs", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != canary {
			fakecloud.WriteJSON(w, 401, map[string]string{"code": "Unauthorized", "message": "no token"})
			return
		}
		fakecloud.WriteJSON(w, 200, map[string]any{"AccessKeyId": "ASIATASK", "SecretAccessKey": canary, "Token": canary, "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	}))
	p := c.person(t, secrets())
	mustMint(t, p.ambient(envContainerFull, url+"/creds", envContainerToken, canary), hostOne)
	mustMint(t, p.configured(&Options{MetadataEndpoint: url, ContainerURI: "/v2/x", ContainerToken: ref(t, "env:TOKEN")}), hostOne)
	if got := c.all(ecrToken); len(got) != 2 || got[0].Key != "ASIATASK" {
		t.Errorf("%+v", got)
	}
	_, err := mint(t, p.ambient(envContainerFull, url+"/creds"), hostOne)
	wants(t, err, providers.LoginRequired, "container credentials")
	secret := p.file("secret", canary)
	for name, env := range map[string][]string{
		"another host":                {envContainerFull, "http://10.0.0.1/creds", envContainerToken, canary},
		"another host over https":     {envContainerFull, "https://evil.example/creds", envContainerToken, canary},
		"a name":                      {envContainerFull, "http://evil.example/creds", envContainerToken, canary},
		"a file to a server of a job": {envContainerFull, url + "/creds", envContainerFile, secret},
		"another scheme":              {envContainerFull, "file:///etc/passwd"},
	} {
		before := len(c.Requests())
		_, err := mint(t, p.ambient(env...), hostOne)
		wants(t, err, providers.Misconfigured)
		if len(c.Requests()) != before {
			t.Errorf("%s: a packet left", name)
		}
	}
}

func TestAFileThatHoldsNoIdentityTokenIsNotSent(t *testing.T) {
	t.Parallel()
	c := start(t)
	p := c.person(t, nil)
	old := c.Issuer(fakecloud.EKSIssuer).Sign("s", "sts.amazonaws.com", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()})
	for name, text := range map[string]string{"secret": canary, "expired": old} {
		_, err := mint(t, p.ambient(envWebFile, p.file(name, text), envRole, roleCI), hostOne)
		if err == nil || len(c.Requests()) > 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := mint(t, p.ambient(envWebFile, "/absent", envRole, roleCI), hostOne)
	wants(t, err, providers.Misconfigured, "identity token /absent")
	_, err = mint(t, p.ambient(envWebFile, "/absent"), hostOne)
	wants(t, err, providers.Misconfigured, "AWS_ROLE_ARN")
}
