// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/aws"
)

const (
	ecrOne     = "111111111111.dkr.ecr.eu-west-1.amazonaws.com"
	ecrTwo     = "222222222222.dkr.ecr.eu-west-1.amazonaws.com"
	ecrSubject = "repo:acme/app:ref:refs/heads/main"
)

// amazon is two accounts of AWS: a user and a role with rights in the first.
type amazon struct {
	cloud *fakecloud.Cloud
	aws   *aws.AWS
	bob   *aws.User
	ci    *aws.Role
}

func newAmazon(t *testing.T, o aws.Options) amazon {
	t.Helper()
	cloud := fakecloud.Start(t)
	r := amazon{cloud: cloud, aws: aws.New(cloud, o)}
	for _, repo := range []string{"team/app", "team/other"} {
		r.aws.Repository(ecrOne + "/" + repo)
		r.aws.Repository(ecrTwo + "/" + repo)
	}
	r.bob = r.aws.User("arn:aws:iam::111111111111:user/bob").Attach(aws.Allow("ecr:*", "sts:AssumeRole"))
	r.ci = r.aws.Role("arn:aws:iam::111111111111:role/ci", aws.TrustAccount("111111111111")).Attach(aws.Allow("ecr:*"))
	return r
}

// account is the text of an account of the first registry with more keys.
func (r amazon) account(keys ...string) string {
	return fmt.Sprintf("[[account]]\nname = \"acme\"\nprovider = \"ecr\"\nhosts = [%q]\n", ecrOne) + strings.Join(keys, "\n") + "\n"
}

// keys are those of a user, in the account's text.
func keysOf(w *world, k aws.Keys) string {
	return fmt.Sprintf("access_key_id = %q\nsecret_access_key = %q", k.AccessKeyID, "file:"+w.write("key-"+k.AccessKeyID, k.SecretAccessKey+"\n"))
}

// env are keys as a terminal has them.
func envOf(k aws.Keys) []string {
	var out []string
	for n, v := range k.Env() {
		out = append(out, n+"="+v)
	}
	return out
}

// profile adds a profile with keys to ~/.aws/credentials.
func profile(w *world, name string, k aws.Keys) {
	text := fmt.Sprintf("[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", name, k.AccessKeyID, k.SecretAccessKey)
	if k.SessionToken != "" {
		text += "aws_session_token = " + k.SessionToken + "\n"
	}
	w.write(".aws/credentials", w.read(".aws/credentials")+text)
}

// federate lets a CI system's tokens assume a new role.
func (r amazon) federate(issuer, subject string) *aws.Role {
	r.cloud.Issuer(issuer)
	r.aws.IdentityProvider("111111111111", issuer, "sts.amazonaws.com")
	return r.aws.Role("arn:aws:iam::111111111111:role/web", aws.TrustWeb("111111111111", issuer, "sts.amazonaws.com", subject)).Attach(aws.Allow("ecr:*"))
}

// calls counts what AWS was asked, apart from its registries.
func (r amazon) calls() int {
	return r.cloud.Count(func(q fakecloud.Request) bool {
		return !strings.Contains(q.Host, ".dkr") && !strings.Contains(q.Host, "s3")
	})
}

// who are those that the registries let through.
func (r amazon) who() []string {
	var out []string
	for _, d := range r.aws.Done() {
		if !slices.Contains(out, d.Who) {
			out = append(out, d.Who)
		}
	}
	return out
}

func TestEachAWSIdentityPushesAndPulls(t *testing.T) {
	type setup struct {
		account string   // "" = recognised by the host alone
		env     []string // of the caller
	}
	for name, prepare := range map[string]func(r amazon, w *world) setup{
		"keys": func(r amazon, w *world) setup { return setup{account: r.account(keysOf(w, r.bob.Keys()))} },
		"keys of a terminal": func(r amazon, _ *world) setup {
			return setup{env: envOf(r.bob.Keys())}
		},
		"session of a terminal": func(r amazon, _ *world) setup {
			return setup{env: envOf(r.ci.Session("jane", 0))}
		},
		"role": func(r amazon, w *world) setup {
			return setup{account: r.account(keysOf(w, r.bob.Keys()), fmt.Sprintf("role_arn = %q", r.ci.ARN()))}
		},
		"chain of roles with an external id": func(r amazon, w *world) setup {
			r.ci.Attach(aws.Allow("sts:AssumeRole"))
			inner := r.aws.Role("arn:aws:iam::222222222222:role/inner", aws.TrustExternal(r.ci.ARN(), "acme-7")).Attach(aws.Allow("ecr:*"))
			r.aws.Repository(ecrOne+"/team/app").ShareWith("222222222222", true)
			return setup{account: r.account(keysOf(w, r.bob.Keys()), fmt.Sprintf("role_arn = [%q, %q]\nexternal_id = \"acme-7\"\nsession_name = \"job-7\"", r.ci.ARN(), inner.ARN()))}
		},
		"profile": func(r amazon, w *world) setup {
			profile(w, "dev", r.bob.Keys())
			return setup{account: r.account(`profile = "dev"`)}
		},
		"profile of a terminal": func(r amazon, w *world) setup {
			profile(w, "dev", r.bob.Keys())
			return setup{env: []string{"AWS_PROFILE=dev"}}
		},
		"profile with a role": func(r amazon, w *world) setup {
			profile(w, "dev", r.bob.Keys())
			w.write(".aws/config", "[profile ci]\nrole_arn = "+r.ci.ARN()+"\nsource_profile = dev\n")
			return setup{env: []string{"AWS_PROFILE=ci"}}
		},
		"default profile": func(r amazon, w *world) setup {
			profile(w, "default", r.bob.Keys())
			return setup{}
		},
		"Identity Center of a profile": func(r amazon, w *world) setup {
			r.sso(w, "jane", time.Hour)
			return setup{env: []string{"AWS_PROFILE=corp-dev"}}
		},
		"Identity Center": func(r amazon, w *world) setup {
			r.sso(w, "jane", time.Hour)
			return setup{account: r.account("sso_session = \"corp\"\nsso_role_name = \"Dev\"")}
		},
		"GitHub Actions": func(r amazon, _ *world) setup {
			role, runner := r.federate(fakecloud.GitHubIssuer, ecrSubject), r.cloud.GitHubRunner(ecrSubject)
			return setup{
				account: r.account(fmt.Sprintf("web_identity = \"github\"\nrole_arn = %q", role.ARN())),
				env:     []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + runner.URL, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + runner.Token},
			}
		},
		"GitLab": func(r amazon, _ *world) setup {
			role := r.federate(fakecloud.GitLabIssuer, "project_path:acme/app")
			token := r.cloud.Issuer(fakecloud.GitLabIssuer).Sign("project_path:acme/app", "sts.amazonaws.com", nil)
			return setup{account: r.account(fmt.Sprintf("web_identity = \"gitlab\"\nrole_arn = %q", role.ARN())), env: []string{"GITLAB_OIDC_TOKEN=" + token}}
		},
		"EKS, recognised": func(r amazon, w *world) setup {
			role := r.federate(fakecloud.EKSIssuer, "system:serviceaccount:ci:build")
			token := r.cloud.Issuer(fakecloud.EKSIssuer).Sign("system:serviceaccount:ci:build", "sts.amazonaws.com", nil)
			return setup{env: []string{"AWS_ROLE_ARN=" + role.ARN(), "AWS_WEB_IDENTITY_TOKEN_FILE=" + w.write("token", token)}}
		},
		"EKS": func(r amazon, w *world) setup {
			role := r.federate(fakecloud.EKSIssuer, "system:serviceaccount:ci:build")
			token := r.cloud.Issuer(fakecloud.EKSIssuer).Sign("system:serviceaccount:ci:build", "sts.amazonaws.com", nil)
			return setup{account: r.account(fmt.Sprintf("web_identity = %q\nrole_arn = %q", "file:"+w.write("token", token), role.ARN()))}
		},
		"program": func(r amazon, w *world) setup {
			path := w.program("creds", "cat <<'END'\n"+r.ci.Session("program", 0).Process()+"\nEND")
			return setup{account: r.account(fmt.Sprintf("credential_process = [%q]", path))}
		},
		"program of a profile": func(r amazon, w *world) setup {
			path := w.program("creds", "cat <<'END'\n"+r.ci.Session("program", 0).Process()+"\nEND")
			w.write(".aws/config", "[profile p]\ncredential_process = "+path+"\n")
			return setup{env: []string{"AWS_PROFILE=p"}}
		},
		"EC2": func(r amazon, _ *world) setup {
			return setup{account: r.account(fmt.Sprintf("metadata_endpoint = %q", r.aws.Instance(r.ci).URL))}
		},
		"ECS": func(r amazon, _ *world) setup {
			task := r.aws.Container(r.ci)
			return setup{account: r.account(fmt.Sprintf("metadata_endpoint = %q\ncontainer_credentials = %q", task.URL, task.RelativeURI))}
		},
		"EKS Pod Identity": func(r amazon, w *world) setup {
			pod := r.aws.Container(r.ci)
			return setup{account: r.account(fmt.Sprintf("container_credentials = %q\ncontainer_token = %q", pod.FullURI, "file:"+w.write("pod-token", pod.Token)))}
		},
		"container, recognised": func(r amazon, _ *world) setup {
			pod := r.aws.Container(r.ci)
			return setup{env: []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + pod.FullURI, "AWS_CONTAINER_AUTHORIZATION_TOKEN=" + pod.Token}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAmazon(t, aws.Options{})
			w := newWorld(t, r.cloud)
			s := prepare(r, w)
			if s.account != "" {
				w.configure(s.account)
			}
			w.pushPull(ecrOne+"/team/app:1", s.env...)
			if who := r.who(); len(who) != 1 || len(r.aws.Mints()) != 1 {
				t.Errorf("the registry let through %q, %d mints", who, len(r.aws.Mints()))
			}
			if a := w.mustGet(ecrOne, s.env...); a.Username != "AWS" || a.Secret != r.aws.Mints()[0].Password {
				t.Errorf("user %q", a.Username)
			}
		})
	}
}

// sso puts a person's login of another tool into HOME, and a profile for it.
func (r amazon) sso(w *world, person string, left time.Duration) *aws.Center {
	w.t.Helper()
	center := r.aws.Center("https://acme.awsapps.com/start", "eu-west-1")
	center.Assign(person, "111111111111", "Dev", aws.Allow("ecr:*"))
	w.write(".aws/config", "[sso-session corp]\nsso_start_url = https://acme.awsapps.com/start\nsso_region = eu-west-1\nsso_registration_scopes = sso:account:access\n"+
		"[profile corp-dev]\nsso_session = corp\nsso_account_id = 111111111111\nsso_role_name = Dev\n")
	if left != 0 {
		r.awsLogin(w, center, person, left)
	}
	return center
}

// awsLogin is what `aws sso login` leaves; it ends in left.
func (r amazon) awsLogin(w *world, center *aws.Center, person string, left time.Duration) {
	w.t.Helper()
	token, _ := center.Login(person)
	sum := sha1.Sum([]byte("corp"))
	b, err := json.Marshal(map[string]string{
		"startUrl": "https://acme.awsapps.com/start", "region": "eu-west-1", "accessToken": token, "expiresAt": time.Now().Add(left).UTC().Format(time.RFC3339),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(".aws/sso/cache/"+hex.EncodeToString(sum[:])+".json", string(b))
}

func TestAWSTokensRotateDuringALongPull(t *testing.T) {
	t.Parallel()
	const life = 5 * time.Second
	r := newAmazon(t, aws.Options{TokenLife: life})
	w := newWorld(t, r.cloud)
	w.configure(r.account(keysOf(w, r.bob.Keys()), fmt.Sprintf("role_arn = %q", r.ci.ARN())))
	ref := ecrOne + "/team/app:1"
	inTime(t, life, "push", func() error { return w.push(ref) })
	seen := map[string]bool{}
	for end := time.Now().Add(patience); len(seen) < 3 && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		inTime(t, life, "a dead token was served", func() error {
			a := w.mustGet(ecrOne)
			seen[a.Secret] = true
			return w.pullAs(ref, a.Username, a.Secret)
		})
	}
	if n := len(r.aws.Mints()); len(seen) < 3 || n > 20 {
		t.Errorf("%d tokens, %d mints", len(seen), n)
	}
}

// The session is narrowed, and with it the token: the registry decides by it.
func TestAWSTargetsNarrowAtTheRegistry(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	w.configure(r.account(keysOf(w, r.bob.Keys()), fmt.Sprintf("role_arn = %q", r.ci.ARN())))
	one, two := ecrOne+"/team/app:1", ecrOne+"/team/other:1"
	w.pushPull(one)
	w.pushPull(two)
	got := w.jsonGet(ecrOne + "/team/app=pull")
	user, secret := fmt.Sprint(got["username"]), fmt.Sprint(got["secret"])
	if got["wider"] == true || user != "AWS" {
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
	got = w.jsonGet(ecrOne + "/team/app=push")
	if err := w.pushAs(one, fmt.Sprint(got["username"]), fmt.Sprint(got["secret"])); err != nil {
		t.Errorf("push: %v", err)
	}
	got = w.jsonGet(ecrOne + "=pull")
	if err := w.pullAs(two, fmt.Sprint(got["username"]), fmt.Sprint(got["secret"])); err != nil || got["wider"] == true {
		t.Errorf("every repository: %v, wider %v", err, got["wider"])
	}
	if out := w.with(w.craneEnv()...).must("regmint", "run", "-q", "-r", ecrOne+"/team/app=pull", "--", "crane", "digest", one); !strings.HasPrefix(out, "sha256:") {
		t.Errorf("crane says %q", out)
	}
	if x := w.with(w.craneEnv()...).run("regmint", "run", "-q", "-r", ecrOne+"/team/app=pull", "--", "crane", "copy", one, two); x.code == 0 {
		t.Error("a job for pull pushed elsewhere")
	}
}

func TestWithoutARoleAnAWSTokenIsWider(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	w.configure(r.account(keysOf(w, r.bob.Keys())))
	if got := w.jsonGet(ecrOne + "/team/app=pull"); got["wider"] != true {
		t.Errorf("wider is %v", got["wider"])
	}
	w.configure(r.account(keysOf(w, r.bob.Keys()), `narrow = "require"`))
	if x := w.regmint("get", ecrOne+"/team/app=pull"); x.code != 7 {
		t.Errorf("%s", x)
	}
	w.configure(r.account(keysOf(w, r.bob.Keys()), fmt.Sprintf("role_arn = %q", r.ci.ARN())))
	args := []string{"run", "-q"}
	for i := range 60 {
		args = append(args, "-r", fmt.Sprintf("%s/team/service-%02d=pull", ecrOne, i))
	}
	if x := w.regmint(append(args, "--", "docker-credential-regmint", "list")...); x.code != 0 {
		t.Errorf("%s", x)
	}
}

func TestTwoTerminalsAreTwoAWSIdentities(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	reader := r.aws.User("arn:aws:iam::111111111111:user/reader").Attach(aws.PullOnly)
	profile(w, "dev", r.bob.Keys())
	profile(w, "ro", reader.Keys())
	w.pushPull(ecrOne+"/team/app:1", "AWS_PROFILE=dev")
	if err := w.pull(ecrOne+"/team/app:1", "AWS_PROFILE=ro"); err != nil {
		t.Error(err)
	}
	if err := w.push(ecrOne+"/team/app:2", "AWS_PROFILE=ro"); status(err) != http.StatusForbidden {
		t.Errorf("the reader pushed: %v", err)
	}
	if n := r.aws.Count(); n[r.bob.ARN()] != 1 || n[reader.ARN()] != 1 {
		t.Errorf("%v", n)
	}
}

func TestManyColdGetsAreOneCallOfAWS(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	w.configure(r.account(keysOf(w, r.bob.Keys())))
	w.regmint("agent", "start")
	r.cloud.Inject(fakecloud.Fault{Host: "api.ecr.eu-west-1.amazonaws.com", Times: 1, Delay: 300 * time.Millisecond})
	var wg sync.WaitGroup
	gate := make(chan struct{}, 50)
	for range 200 {
		wg.Go(func() {
			gate <- struct{}{}
			defer func() { <-gate }()
			w.mustGet(ecrOne)
		})
	}
	wg.Wait()
	if n := r.calls(); n != 1 {
		t.Errorf("%d calls", n)
	}
}

func TestRotatingKeysOfAProgramAreMintedWithOnce(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	// Each run prints another session, as every program of the kind does.
	var script strings.Builder
	script.WriteString("n=$(cat \"$HOME/n\" 2>/dev/null || echo 0); n=$((n+1)); echo $n >\"$HOME/n\"\ncase $n in\n")
	for i := range 12 {
		fmt.Fprintf(&script, "%d) cat <<'END'\n%s\nEND\n;;\n", i+1, r.ci.Session(fmt.Sprintf("run-%d", i), 0).Process())
	}
	script.WriteString("esac")
	w.configure(r.account(fmt.Sprintf("credential_process = [%q]", w.program("creds", script.String()))))
	first := w.mustGet(ecrOne)
	for range 9 {
		if a := w.mustGet(ecrOne); a.Secret != first.Secret {
			t.Error("another token")
		}
	}
	if n := r.calls(); n != 1 || strings.TrimSpace(w.read("n")) != "1" {
		t.Errorf("%d calls, %s runs", n, w.read("n"))
	}
}

func TestFiftyRegistriesAreFiftyEntries(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	w.configure(strings.Replace(r.account(keysOf(w, r.bob.Keys())), ecrOne, "*.dkr.ecr.eu-west-1.amazonaws.com", 1))
	w.regmint("agent", "start")
	wave := func() map[string]string {
		out := map[string]string{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				host := fmt.Sprintf("%012d.dkr.ecr.eu-west-1.amazonaws.com", 300_000_000_000+i)
				a := w.mustGet(host)
				mu.Lock()
				out[host] = a.Secret
				mu.Unlock()
			})
		}
		wg.Wait()
		return out
	}
	first := wave()
	if n := r.calls(); n != 50 {
		t.Errorf("%d calls for 50 registries", n)
	}
	second := wave()
	if n := r.calls(); n != 50 {
		t.Errorf("%d calls after the second wave", n)
	}
	for host, secret := range second {
		if first[host] != secret {
			t.Errorf("%s has another token", host)
		}
	}
}

func TestNoPacketLeavesForAWSLookAlikes(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	env := envOf(r.bob.Keys())
	for _, host := range []string{
		ecrOne + ".evil.example", ecrOne + ":8443", "x." + ecrOne, "11111111111.dkr.ecr.eu-west-1.amazonaws.com", "111111111111.dkr.ecr.eu-west-1.xamazonaws.com",
		"111111111111.dkr.ecr.eu-west-1.amazonaws.com.cn", "111111111111.dkr.ecr.cn-north-1.amazonaws.com", "111111111111.dkr-ecr.eu-west-1.on.aws.evil.example",
		"public.ecr.aws.evil.example", "xpublic.ecr.aws", "public.ecr.aws:5000", "api.ecr.eu-west-1.amazonaws.com",
	} {
		if a := w.get(host, env...); !a.notFound {
			t.Errorf("%s: %+v", host, a)
		}
	}
	if got := r.cloud.Reached(); len(got) != 0 {
		t.Errorf("reached %q", got)
	}
}

func TestALoginThatTheAWSCommandLineRenewsWorksAtTheVeryNextGet(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	center := r.sso(w, "jane", -time.Hour)
	env := []string{"AWS_PROFILE=corp-dev"}
	for range 2 {
		if a := w.get(ecrOne, env...); !strings.Contains(a.failure, `AWS SSO session "corp" expired`) || !strings.Contains(a.failure, "run: regmint login") {
			t.Errorf("%+v", a)
		}
	}
	r.awsLogin(w, center, "jane", time.Hour)
	w.eventually("the watcher sees the new login", func() bool { return w.get(ecrOne, env...).Secret != "" })
}

func TestLoginOfAnECRHostRunsTheDeviceFlowAndWritesTheAccount(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	center := r.sso(w, "jane", 0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // jane, in her browser
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
			}
			for _, code := range center.Pending() {
				if err := center.Approve(code, "jane"); err != nil {
					t.Error(err)
				}
			}
		}
	})
	x := w.terminal([]line{{"[Y/n]", "n"}}, "regmint", "login", ecrOne)
	close(stop)
	wg.Wait()
	if x.code != 0 || !strings.Contains(x.out, "corp-dev") {
		t.Fatalf("%s", x)
	}
	if text := w.read(".config/regmint/config.d/regmint.toml"); !strings.Contains(text, `profile = "corp-dev"`) {
		t.Errorf("written: %s", text)
	}
	w.pushPull(ecrOne + "/team/app:1")
}

func TestAProfileOfAnotherAccountIsNamed(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	profile(w, "dev", r.bob.Keys())
	w.write(".aws/config", "[profile prod]\nrole_arn = arn:aws:iam::222222222222:role/ops\nsource_profile = dev\n")
	if a := w.get(ecrTwo, "AWS_PROFILE=dev"); !strings.Contains(a.failure, `host is account 222222222222, profile "dev" is 111111111111; matching profiles: prod`) {
		t.Errorf("%+v", a)
	}
	// A repository policy lets bob in, and no profile says otherwise.
	w.write(".aws/config", "")
	r.aws.Repository(ecrTwo+"/team/app").ShareWith("111111111111", true)
	w.eventually("the watcher sees the file", func() bool { return w.get(ecrTwo, "AWS_PROFILE=dev").Secret != "" })
	w.pushPull(ecrTwo+"/team/app:1", "AWS_PROFILE=dev")
}

func TestECRPublicIsOpenWithoutAnIdentityAndTakesPushesWithOne(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	r.aws.PublicAlias("acme", "111111111111")
	r.aws.Repository("public.ecr.aws/acme/tool")
	publisher := r.aws.User("arn:aws:iam::111111111111:user/publisher").Attach(aws.Allow("ecr-public:*", "sts:GetServiceBearerToken"))
	w.pushPull("public.ecr.aws/acme/tool:1", envOf(publisher.Keys())...)
	if err := w.pull("public.ecr.aws/acme/tool:1", "AWS_EC2_METADATA_DISABLED=true"); err != nil {
		t.Errorf("without an identity: %v", err)
	}
	// bob may not log in there; that does not stop him from pulling.
	if a := w.get("public.ecr.aws", envOf(r.bob.Keys())...); !a.notFound {
		t.Errorf("%+v", a)
	}
}

func TestNativeSessionsOfAWSCleanUp(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	w.configure(r.account(keysOf(w, r.bob.Keys()), fmt.Sprintf("role_arn = %q", r.ci.ARN())))
	w.pushPull(ecrOne + "/team/app:1")
	out := w.must("regmint", "get", ecrOne+"/team/app=delete", "--native", "--format", "env")
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION"} {
		if !strings.Contains(out, name+"=") {
			t.Errorf("no %s", name)
		}
	}
	given := r.aws.Assumed()
	if last := given[len(given)-1]; !strings.Contains(last.Policy, "ecr:BatchDeleteImage") || strings.Contains(last.Policy, "PutImage") || !strings.Contains(last.Policy, "repository/team/app") {
		t.Errorf("policy %s", last.Policy)
	}
	// A long clean-up reads the session as the SDKs read a credential_process.
	var got struct {
		Version                                   int
		AccessKeyID                               string `json:"AccessKeyId"`
		SecretAccessKey, SessionToken, Expiration string
	}
	text := w.must("regmint", "get", ecrOne+"/team/app=delete", "--format", "credential-process")
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Version != 1 || got.Expiration == "" {
		t.Fatalf("%v: %s", err, text)
	}
	client := ecr.New(ecr.Options{
		Region: "eu-west-1", HTTPClient: r.cloud.Client(),
		Credentials: sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
			return sdk.Credentials{AccessKeyID: got.AccessKeyID, SecretAccessKey: got.SecretAccessKey, SessionToken: got.SessionToken}, nil
		}),
	})
	remove := func(repository string) error {
		out, err := client.BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{RepositoryName: sdk.String(repository), ImageIds: []types.ImageIdentifier{{ImageTag: sdk.String("1")}}})
		if err == nil && len(out.Failures) > 0 {
			err = errors.New(string(out.Failures[0].FailureCode))
		}
		return err
	}
	if err := remove("team/app"); err != nil {
		t.Errorf("delete: %v", err)
	}
	if err := remove("team/other"); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
		t.Errorf("delete elsewhere: %v", err)
	}
}

func TestAnAWSTokenThatLivesIsServedWhileAWSFails(t *testing.T) {
	t.Parallel()
	const life = 12 * time.Second
	r := newAmazon(t, aws.Options{TokenLife: life})
	w := newWorld(t, r.cloud)
	w.configure(r.account(keysOf(w, r.bob.Keys())))
	early := time.Now() // it ends between early and begin, a life later
	first := w.mustGet(ecrOne)
	begin := time.Now()
	r.aws.Fail(aws.Failure{Action: "ecr:GetAuthorizationToken", Status: 500, Code: "ServerException", Message: "no"})
	time.Sleep(time.Until(begin.Add(8500 * time.Millisecond))) // below the floor: a mint is waited for, and fails
	if a := w.get(ecrOne); a.Secret != first.Secret && time.Since(early) < life {
		t.Errorf("%+v", a)
	}
	w.eventually("the token ends and the reason is told", func() bool {
		asked := time.Since(begin)
		a := w.get(ecrOne)
		if a.Secret != "" && asked > life+time.Second {
			t.Fatal("a dead token was served")
		}
		return strings.Contains(a.failure, "ecr:GetAuthoriz")
	})
	r.aws.Recover()
	w.eventually("the next mint", func() bool { return w.get(ecrOne).Secret != "" })
}
