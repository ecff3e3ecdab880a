// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud/aws"
)

// noMachine keeps a test off a metadata service that is not there.
const noMachine = "AWS_EC2_METADATA_DISABLED=true"

// dockerLogin is what `aws ecr get-login-password | docker login` ends in.
func (w *world) dockerLogin(host, user, secret string, env ...string) result {
	w.t.Helper()
	b, err := json.Marshal(map[string]string{"ServerURL": host, "Username": user, "Secret": secret})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.with(env...).feed(string(b), "docker-credential-regmint", "store")
}

func TestFetchedTokensServeWhereWeCannotMintAndAreNothingWhereWeCan(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	profile(w, "dev", r.bob.Keys())
	fetched := w.mustGet(ecrOne, "AWS_PROFILE=dev") // stands for the AWS command line
	other := newWorld(t, r.cloud)                   // a machine without any identity
	if a := other.get(ecrOne, noMachine); !a.notFound {
		t.Fatalf("%+v", a)
	}
	if x := other.dockerLogin(ecrOne, "AWS", fetched.Secret, noMachine); x.code != 0 || x.out+x.err != "" {
		t.Fatalf("docker login: %s", x)
	}
	other.pushPull(ecrOne+"/team/app:1", noMachine)
	if got := other.with(noMachine).jsonGet(ecrOne); got["expires_at"] == nil || got["username"] != "AWS" {
		t.Errorf("%v", got["account"])
	}
	// With an identity of its own it mints, and keeps nothing.
	profile(other, "dev", r.bob.Keys())
	before := other.read(".config/regmint/config.d/regmint.toml")
	if a := other.mustGet(ecrOne, "AWS_PROFILE=dev"); a.Secret == fetched.Secret {
		t.Error("the fetched token was served where we can mint")
	}
	if x := other.dockerLogin(ecrOne, "AWS", fetched.Secret, "AWS_PROFILE=dev"); x.code != 0 {
		t.Errorf("%s", x)
	}
	if after := other.read(".config/regmint/config.d/regmint.toml"); after != before {
		t.Errorf("something was written: %s", after)
	}
}

func TestARecognisedRegistryIsTheFormerHelpersWhereNobodyIsAnybody(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	former := w.program("docker-credential-former", `read host; printf '{"ServerURL":"%s","Username":"AWS","Secret":"of-the-former"}' "$host"`)
	w.configure(fmt.Sprintf("[docker]\nbehind = { \"*\" = %q }", former))
	if a := w.get(ecrOne, noMachine); a.Secret != "of-the-former" {
		t.Errorf("%+v", a)
	}
	profile(w, "dev", r.bob.Keys())
	if a := w.get(ecrOne, "AWS_PROFILE=dev"); a.Secret == "of-the-former" || a.Secret == "" {
		t.Errorf("%+v", a)
	}
	// An identity that fails is no absent one.
	if a := w.get(ecrOne, "AWS_PROFILE=gone"); a.failure == "" {
		t.Errorf("%+v", a)
	}
}

func TestTheHouseSaysWhoAnswersAtAws(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	profile(w, "dev", r.bob.Keys())
	if x := w.with(noMachine).regmint("get", ecrOne); x.code != 6 || !strings.HasPrefix(x.err, "regmint: "+ecrOne+": ") || strings.Contains(x.err, "no account for this host") {
		t.Errorf("without an identity: %s", x)
	}
	dev := w.with("AWS_PROFILE=dev")
	x := dev.regmint("run", "-r", ecrOne+"/team/app=pull", "--", "true")
	if x.code != 0 || !strings.Contains(x.err, ecrOne+" as whoever ecr finds here (pull team/app") {
		t.Errorf("run, not asked yet: %s", x)
	}
	dev.mustGet(ecrOne)
	x = dev.regmint("run", "-r", ecrOne+"=pull", "--", "docker-credential-regmint", "list")
	if x.code != 0 || !strings.Contains(x.err, ecrOne+` as profile "dev" (pull only)`) || !strings.Contains(x.out, ecrOne) {
		t.Errorf("run: %s", x)
	}
	if out := dev.must("docker-credential-regmint", "list"); !strings.Contains(out, ecrOne) {
		t.Errorf("list in the terminal with the profile: %s", out)
	}
	if out := w.with(noMachine).must("docker-credential-regmint", "list"); strings.Contains(out, ecrOne) {
		t.Errorf("list in a terminal without: %s", out)
	}
	out := dev.must("regmint", "status")
	if !strings.Contains(out, `profile "dev"`) || !strings.Contains(out, "ecr:"+ecrOne) {
		t.Errorf("status: %s", out)
	}
}

func TestAJobOfAnAccountThatCannotBeNarrowedSaysSo(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	w.configure(r.account(keysOf(w, r.bob.Keys())))
	if x := w.regmint("run", "-r", ecrOne+"=pull", "--", "true"); x.code != 0 || !strings.Contains(x.err, ecrOne+" as acme (pull only; its secret can do more)") {
		t.Errorf("without a role: %s", x)
	}
	w.configure(r.account(keysOf(w, r.bob.Keys()), fmt.Sprintf("role_arn = %q", r.ci.ARN())))
	x := w.regmint("run", "-r", ecrOne+"=pull", "--", "regmint", "get", ecrOne, "--format", "credential-process")
	if x.code != 0 || !strings.Contains(x.err, ecrOne+" as acme (pull only)") {
		t.Errorf("with a role: %s", x)
	}
	var native map[string]any
	if err := json.Unmarshal([]byte(x.out), &native); err != nil || native["Version"] != 1.0 || native["SessionToken"] == "" || native["Expiration"] == nil {
		t.Errorf("%v: %d keys", err, len(native))
	}
	given := r.aws.Assumed()
	if last := given[len(given)-1]; last.Policy == "" || strings.Contains(last.Policy, "PutImage") {
		t.Errorf("the session of a job for pull: policy %q", last.Policy)
	}
}
