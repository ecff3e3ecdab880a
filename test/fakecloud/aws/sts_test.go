// SPDX-License-Identifier: Apache-2.0

package aws_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
)

func TestCallersAreIdentified(t *testing.T) {
	c, a := start(t, aws.Options{})
	jane, ci := a.User(userArn), a.Role(roleCI)
	for _, tc := range []struct {
		region string
		keys   aws.Keys
		arn    string
		edit   func(*sts.Options)
	}{
		{region, jane.Keys(), userArn, nil},
		{"us-east-1", jane.Keys(), userArn, nil},
		{"us-gov-west-1", a.User("arn:aws-us-gov:iam::333333333333:user/g").Keys(), "arn:aws-us-gov:iam::333333333333:user/g", nil},
		{"cn-north-1", a.User("arn:aws-cn:iam::333333333333:user/c").Keys(), "arn:aws-cn:iam::333333333333:user/c", nil},
		{region, ci.Session("job-7", 0), "arn:aws:sts::" + one + ":assumed-role/ci/job-7", nil},
		{region, jane.Keys(), userArn, func(o *sts.Options) {
			o.EndpointOptions.UseDualStackEndpoint = sdk.DualStackEndpointStateEnabled
		}},
		{"us-east-1", jane.Keys(), userArn, func(o *sts.Options) { o.EndpointOptions.UseFIPSEndpoint = sdk.FIPSEndpointStateEnabled }},
		{"us-east-1", jane.Keys(), userArn, func(o *sts.Options) { o.BaseEndpoint = sdk.String("https://sts.amazonaws.com") }},
	} {
		s := stsOf(c, tc.region, keys(tc.keys))
		if tc.edit != nil {
			s = stsOf(c, tc.region, keys(tc.keys), tc.edit)
		}
		out, err := s.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		if err != nil || *out.Arn != tc.arn || len(*out.Account) != 12 {
			t.Errorf("%s: %+v %v", tc.arn, out, err)
		}
	}
}

func TestSignaturesAreVerified(t *testing.T) {
	c, a := start(t, aws.Options{})
	jane, ci := a.User(userArn), a.Role(roleCI)
	good, session := jane.Keys(), ci.Session("job", 0)
	with := func(k aws.Keys, f func(*aws.Keys)) aws.Keys { f(&k); return k }
	revoked := jane.Keys()
	a.Revoke(revoked)
	expired := ci.Session("old", 0)
	a.Expire(expired)
	for name, tc := range map[string]struct {
		keys   aws.Keys
		signed string // region
		code   string
		words  string
	}{
		"another secret":           {with(good, func(k *aws.Keys) { k.SecretAccessKey = "x" }), region, "SignatureDoesNotMatch", "calculated"},
		"a key nobody has":         {with(good, func(k *aws.Keys) { k.AccessKeyID = "AKIAIOSFODNN7EXAMPLE" }), region, "InvalidClientTokenId", "invalid"},
		"a key that was revoked":   {revoked, region, "InvalidClientTokenId", "invalid"},
		"a session without token":  {with(session, func(k *aws.Keys) { k.SessionToken = "" }), region, "InvalidClientTokenId", "invalid"},
		"a session's other token":  {with(session, func(k *aws.Keys) { k.SessionToken += "x" }), region, "InvalidClientTokenId", "invalid"},
		"a user with a token":      {with(good, func(k *aws.Keys) { k.SessionToken = session.SessionToken }), region, "InvalidClientTokenId", "invalid"},
		"a session that is over":   {expired, region, "ExpiredToken", "expired"},
		"signed for other regions": {good, "us-east-1", "SignatureDoesNotMatch", "valid region, not 'us-east-1'"},
		"another partition's key":  {a.User("arn:aws-cn:iam::333333333333:user/c").Keys(), region, "InvalidClientTokenId", "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			s := stsOf(c, tc.signed, keys(tc.keys), func(o *sts.Options) { o.BaseEndpoint = sdk.String("https://sts." + region + ".amazonaws.com") })
			_, err := s.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			refused(t, err, tc.code, http.StatusForbidden, tc.words)
		})
	}
	t.Run("not signed", func(t *testing.T) {
		_, err := stsOf(c, region, sdk.AnonymousCredentials{}).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		refused(t, err, "MissingAuthenticationToken", http.StatusForbidden)
	})
}

func TestClockOfAClientMustBeRight(t *testing.T) {
	c, a := start(t, aws.Options{})
	k := keys(a.User(userArn).Keys())
	for _, by := range []time.Duration{16 * time.Minute, -32 * time.Minute} {
		c.Advance(by)
		_, err := stsOf(c, region, k).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
		refused(t, err, "SignatureDoesNotMatch", http.StatusForbidden, "15 min.")
	}
	// The SDK reads the Date of the refusal and signs again.
	again := sts.New(sts.Options{Region: region, HTTPClient: client(c), Credentials: k})
	if _, err := again.GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
	a.SetClockCheck(false)
	if _, err := stsOf(c, region, k).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
}

func TestRolesAreTakenByWhoIsTrustedAndPermitted(t *testing.T) {
	c, a := start(t, aws.Options{})
	may := a.User(userArn).Attach(aws.Allow("sts:AssumeRole")).Keys()
	mayNot := a.User("arn:aws:iam::" + one + ":user/joe").Keys()
	stranger := a.User("arn:aws:iam::" + two + ":user/eve").Attach(aws.Allow("*")).Keys()
	a.Role(roleCI, aws.TrustAccount(one))
	a.Role(roleCI+"-joe", aws.TrustPrincipal("arn:aws:iam::"+one+":user/joe"))
	a.Role(roleCI+"-two", aws.TrustExternal("arn:aws:iam::"+two+":root", "acme-7"))
	for name, tc := range map[string]struct {
		keys     aws.Keys
		role     string
		external string
		ok       bool
	}{
		"account trusted, permitted":            {may, roleCI, "", true},
		"account trusted, not permitted":        {mayNot, roleCI, "", false},
		"named itself, without a permission":    {mayNot, roleCI + "-joe", "", true},
		"permitted, not trusted":                {may, roleCI + "-joe", "", false},
		"another account, not trusted":          {stranger, roleCI, "", false},
		"another account with its external id":  {stranger, roleCI + "-two", "acme-7", true},
		"another account, another external id":  {stranger, roleCI + "-two", "acme-8", false},
		"another account, external id left out": {stranger, roleCI + "-two", "", false},
		"a role that is not there":              {may, roleCI + "-none", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			in := &sts.AssumeRoleInput{RoleArn: &tc.role, RoleSessionName: sdk.String("job")}
			if tc.external != "" {
				in.ExternalId = &tc.external
			}
			out, err := stsOf(c, region, keys(tc.keys)).AssumeRole(t.Context(), in)
			if !tc.ok {
				refused(t, err, "AccessDenied", http.StatusForbidden, "is not authorized to perform: sts:AssumeRole on resource: "+tc.role)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if left := out.Credentials.Expiration.Sub(c.Now()); left > time.Hour || left < 59*time.Minute || !strings.HasSuffix(*out.AssumedRoleUser.Arn, "/job") {
				t.Errorf("%v %s", left, *out.AssumedRoleUser.Arn)
			}
		})
	}
	if got := a.Assumed(); len(got) != 3 {
		t.Errorf("%d sessions", len(got))
	}
}

func TestSessionsAreAsLongAsTheirRulesAllow(t *testing.T) {
	c, a := start(t, aws.Options{})
	k := a.User(userArn).Attach(aws.Allow("sts:*")).Keys()
	ci := a.Role(roleCI, aws.TrustAccount(one)).MaxSession(4 * time.Hour).Attach(aws.Allow("sts:AssumeRole"))
	for _, tc := range []struct {
		keys    aws.Keys
		seconds int32
		words   string
	}{
		{k, 900, ""},
		{k, 4 * 3600, ""},
		{k, 899, "greater than or equal to 900"},
		{k, 43201, "less than or equal to 43200"},
		{k, 5 * 3600, "MaxSessionDuration"},
		{ci.Session("first", 0), 3600, ""},
		{ci.Session("first", 0), 3601, "1 hour session limit for roles assumed by role chaining"},
	} {
		_, err := stsOf(c, region, keys(tc.keys)).AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: sdk.String(roleCI), RoleSessionName: sdk.String("job"), DurationSeconds: &tc.seconds,
		})
		if tc.words == "" && err != nil {
			t.Errorf("%d s: %v", tc.seconds, err)
		}
		if tc.words != "" {
			refused(t, err, "ValidationError", http.StatusBadRequest, tc.words)
		}
	}
}

func TestSessionPoliciesAreRead(t *testing.T) {
	c, a := start(t, aws.Options{PackedLimit: 1500})
	k := a.User(userArn).Attach(aws.Allow("sts:*")).Keys()
	a.Role(roleCI, aws.TrustAccount(one))
	long := func(n int) string {
		p := aws.Allow("ecr:GetAuthorizationToken")
		return p[:len(p)-1] + strings.Repeat(" ", n-len(p)) + "}"
	}
	for name, tc := range map[string]struct{ policy, code, words string }{
		"good":          {aws.PullOnly, "", ""},
		"no JSON":       {"{", "MalformedPolicyDocument", "not in the valid JSON format"},
		"no effect":     {`{"Version":"2012-10-17","Statement":[{"Action":"*","Resource":"*"}]}`, "MalformedPolicyDocument", "Syntax errors"},
		"no resource":   {`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*"}]}`, "MalformedPolicyDocument", "must contain resources"},
		"no vendor":     {`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"PutImage","Resource":"*"}]}`, "MalformedPolicyDocument", "prefaced by a vendor"},
		"no ARN":        {aws.AllowOn("acme/app", "ecr:*"), "MalformedPolicyDocument", "must be in ARN format"},
		"odd partition": {aws.AllowOn("arn:azure:ecr:::repository/x", "ecr:*"), "MalformedPolicyDocument", "Partition"},
		"principal":     {aws.TrustAccount(one), "MalformedPolicyDocument", "should not specify a principal"},
		"does not pack": {long(1501), "PackedPolicyTooLarge", "allotted space"},
		"too long":      {long(2049), "ValidationError", "less than or equal to 2048"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := stsOf(c, region, keys(k)).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: sdk.String(roleCI), RoleSessionName: sdk.String("job"), Policy: &tc.policy})
			if tc.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refused(t, err, tc.code, http.StatusBadRequest, tc.words)
			if _, ok := errors.AsType[*types.MalformedPolicyDocumentException](err); tc.code == "MalformedPolicyDocument" && !ok {
				t.Errorf("%T", err)
			}
		})
	}
}

// idToken hands a token to stscreds.
type idToken string

func (s idToken) GetIdentityToken() ([]byte, error) { return []byte(s), nil }

func TestIdentityTokensTakeTheRolesThatTrustThem(t *testing.T) {
	c, a := start(t, aws.Options{})
	i := c.Issuer(fakecloud.GitHubIssuer)
	const audience, subject = "sts.amazonaws.com", "repo:acme/app:ref:refs/heads/main"
	a.IdentityProvider(one, i.URL, audience, "other")
	a.Role(roleCI, aws.TrustWeb(one, i.URL, audience, "repo:acme/app:*"))
	good := i.Sign(subject, audience, nil)
	for name, tc := range map[string]struct {
		token, role, code string
		status            int
		words             string
	}{
		"good":                          {good, roleCI, "", 0, ""},
		"another subject":               {i.Sign("repo:evil/app:ref:refs/heads/main", audience, nil), roleCI, "AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity"},
		"the provider's other audience": {i.Sign(subject, "other", nil), roleCI, "AccessDenied", 403, "Not authorized"},
		"a strange audience":            {i.Sign(subject, "vault", nil), roleCI, "InvalidIdentityToken", 400, "Incorrect token audience"},
		"a role that is not there":      {good, roleCI + "x", "AccessDenied", 403, "Not authorized"},
		"an account without provider":   {good, "arn:aws:iam::" + two + ":role/ci", "InvalidIdentityToken", 400, "No OpenIDConnect provider found in your account for " + i.URL},
		"expired":                       {i.Sign(subject, audience, map[string]any{"exp": c.Now().Add(-time.Minute).Unix()}), roleCI, "ExpiredTokenException", 400, "Token expired"},
		"a signature cut short":         {good[:len(good)-8], roleCI, "InvalidIdentityToken", 400, ""},
		"no token":                      {"nonsense", roleCI, "InvalidIdentityToken", 400, "not a valid JWT"},
	} {
		t.Run(name, func(t *testing.T) {
			p := stscreds.NewWebIdentityRoleProvider(stsOf(c, region, sdk.AnonymousCredentials{}), tc.role, idToken(tc.token), func(o *stscreds.WebIdentityRoleOptions) {
				o.RoleSessionName = "job"
			})
			creds, err := p.Retrieve(t.Context())
			if tc.code != "" {
				refused(t, err, tc.code, tc.status, tc.words)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			who, err := stsOf(c, region, sdk.CredentialsProviderFunc(p.Retrieve)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
			if err != nil || *who.Arn != "arn:aws:sts::"+one+":assumed-role/ci/job" || creds.SessionToken == "" {
				t.Errorf("%v %v", who, err)
			}
		})
	}
}

func TestSTSFailsAsItIsTold(t *testing.T) {
	c, a := start(t, aws.Options{})
	k := keys(a.User(userArn).Keys())
	a.Throttle("sts:GetCallerIdentity", 1)
	_, err := stsOf(c, region, k).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	refused(t, err, "Throttling", http.StatusBadRequest, "Rate exceeded")
	if _, err := stsOf(c, region, k).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{}); err != nil {
		t.Error(err)
	}
	a.DisableSTS("me-south-1")
	_, err = stsOf(c, "me-south-1", k).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	refused(t, err, "RegionDisabledException", http.StatusForbidden)
	a.Fail(aws.Failure{Action: "sts:AssumeRole", Status: 500, Code: "InternalFailure", Message: "try again"})
	_, err = stsOf(c, region, k).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: sdk.String(roleCI), RoleSessionName: sdk.String("job")})
	refused(t, err, "InternalFailure", http.StatusInternalServerError)
}

func TestUsersMakeSessionsAndSessionsDoNot(t *testing.T) {
	c, a := start(t, aws.Options{})
	user := a.User(userArn).Keys()
	out, err := stsOf(c, region, keys(user)).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{DurationSeconds: sdk.Int32(3600)})
	if err != nil || out.Credentials.Expiration.Sub(c.Now()).Round(time.Minute) != time.Hour {
		t.Fatalf("%+v %v", out, err)
	}
	made := aws.Keys{AccessKeyID: *out.Credentials.AccessKeyId, SecretAccessKey: *out.Credentials.SecretAccessKey, SessionToken: *out.Credentials.SessionToken}
	who, err := stsOf(c, region, keys(made)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil || *who.Arn != userArn {
		t.Errorf("%+v %v", who, err)
	}
	_, err = stsOf(c, region, keys(made)).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
	refused(t, err, "AccessDenied", http.StatusForbidden, "session credentials")
	_, err = stsOf(c, region, keys(user)).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{DurationSeconds: sdk.Int32(899)})
	refused(t, err, "ValidationError", http.StatusBadRequest, "between 900")
	c.Advance(61 * time.Minute)
	a.SetClockCheck(false)
	_, err = stsOf(c, region, keys(made)).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	refused(t, err, "ExpiredToken", http.StatusForbidden)
}
