// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/test/fakecloud/dockerhub"
)

// A job outlives many of its tokens: those of this Docker Hub end after seconds
// and are renewed before. No client is given a dead one.
func TestTokensOfAConnectionAreRenewedWhileAJobRuns(t *testing.T) {
	t.Parallel()
	const life = 8 * time.Second // stands for 5 min
	r := newHub(t, dockerhub.Options{FederatedLife: life, BearerLife: life})
	con := r.connection(dockerhub.RepoWrite)
	r.configure(r.account(fmt.Sprintf("oidc_connection = %q", con.ID), `organization = "acme"`, `web_identity = "github"`))
	env := r.job(hubSubject)
	inTime(t, life, "push", func() error { return r.push(hubApp, env...) })
	secrets := map[string]bool{}
	for end := time.Now().Add(2 * patience); len(secrets) < 3; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d tokens seen, %+v", len(secrets), r.hub.Counts())
		}
		secrets[r.mustGet("https://index.docker.io/v1/", env...).Secret] = true
		inTime(t, life, fmt.Sprintf("pull after %d tokens", len(secrets)), func() error { return r.pull(hubApp, env...) })
	}
	inTime(t, life, "the push at the end", func() error { return r.push(hubApp, env...) })
}

// A token that Docker ends before its time is found out by check, which asks for
// the next one: the connection's own answer is what a person reads.
func TestAConnectionThatIsClosedMidJobSaysSo(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	con := r.connection(dockerhub.RepoWrite)
	r.configure(r.account(fmt.Sprintf("oidc_connection = %q", con.ID), `organization = "acme"`, `web_identity = "github"`))
	w := r.with(r.job(hubSubject)...)
	w.mustGet("docker.io")
	if x := w.regmint("check", "docker.io"); x.code != 0 {
		t.Fatalf("check: %s", x)
	}
	con.Deactivate()
	x := w.regmint("check", "docker.io")
	if x.code != 7 || !strings.Contains(x.out+x.err, "not active") {
		t.Errorf("check: %s", x)
	}
	if a := w.get("docker.io"); !strings.Contains(a.failure, "not active") {
		t.Errorf("%+v", a)
	}
}

func TestATokenSavedForDockerHubHasItsLimitAndItsAPI(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	r.hub.LimitPulls(100)
	oat := r.acme.OAT(dockerhub.RepoAdmin).Secret
	if x := r.feed(oat, "regmint", "login", "docker.io", "-u", "acme", "--password-stdin", "--no-wire"); x.code != 0 {
		t.Fatal(x)
	}
	r.pushPull(hubApp)
	for range 3 {
		if err := r.pull(hubApp); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"check", "docker.io"}, {"status", "docker.io"}} {
		if x := r.regmint(args...); x.code != 0 || !strings.Contains(x.out, "96 of 100 left in 6 h, as acme") {
			t.Errorf("%q: %s", args, x)
		}
	}
	r.hub.AnswerLimits(http.StatusOK, http.Header{"Ratelimit-Limit": {"lots"}})
	if x := r.regmint("check", "docker.io"); x.code != 0 || strings.Contains(x.out, "left") || strings.Contains(x.out, "limit") {
		t.Errorf("a limit that makes no sense: %s", x)
	}
	if m := r.jsonGet("docker.io/acme/app=delete", "--native"); !strings.Contains(fmt.Sprint(m), "WERF_REPO_DOCKER_HUB_TOKEN") {
		t.Errorf("%v", m)
	}
	if x := r.feed("wrong-"+oat, "regmint", "login", "docker.io", "-u", "acme", "--password-stdin", "--no-wire"); x.code == 0 || !strings.Contains(x.err, "incorrect username or password") {
		t.Errorf("a wrong token: %s", x)
	}
	r.mustGet("docker.io")
	r.must("regmint", "logout", "docker.io")
	if a := r.get("docker.io"); !a.notFound {
		t.Errorf("logged out: %+v", a)
	}
}

// An expired login is said to be so: in every job, and on a laptop unless its
// owner allowed less.
func TestAnExpiredDockerLoginIsNotAnonymous(t *testing.T) {
	t.Parallel()
	r := newHub(t, dockerhub.Options{})
	r.hub.Repository("acme/public", dockerhub.Public)
	pat := r.bot.PAT(dockerhub.RepoWrite)
	r.configure(r.saved("acme-bot", pat.Secret))
	if err := r.push("docker.io/acme/public:1"); err != nil {
		t.Fatal(err)
	}
	pat.Revoke()
	inJob := func() string {
		t.Helper()
		x := r.feed("https://index.docker.io/v1/", "regmint", "run", "-q", "--", "docker-credential-regmint", "get")
		if x.code != 1 {
			t.Fatalf("get in a job: %s", x)
		}
		return x.out
	}
	r.configure(r.saved("acme-bot", pat.Secret)) // the agent starts anew and asks the registry behind the first answer
	r.get("docker.io")
	r.eventually("the refused token is found out", func() bool {
		return strings.Contains(r.get("docker.io").failure, "access token of acme-bot is refused: expired, revoked or another user's; run: regmint login docker.io")
	})
	r.eventually("in a job too", func() bool { return strings.Contains(inJob(), "regmint login docker.io") })
	if x := r.with(r.craneEnv()...).run("regmint", "run", "-q", "--ca", r.path("cloud-ca.pem"), "--", "crane", "manifest", "acme/public:1"); x.code == 0 || !strings.Contains(x.err, "regmint login docker.io") {
		t.Errorf("a pull of a public image in a job: %s", x)
	}
	r.configure(r.account(`username = "acme-bot"`, fmt.Sprintf("password = %q", "file:"+r.path("hub-secret")), `on_failure = "anonymous"`))
	r.get("docker.io")
	r.eventually("where it is allowed it is anonymous", func() bool { return r.get("docker.io").notFound })
	if out := inJob(); !strings.Contains(out, "regmint login docker.io") {
		t.Errorf("in a job: %q", out)
	}
}
