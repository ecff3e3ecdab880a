// SPDX-License-Identifier: Apache-2.0

//go:build e2e && linux

package e2e

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/test/fakecloud"
	"github.com/regmint/regmint/test/fakecloud/dockerhub"
)

// againAndAgain pushes and pulls with three clients at once until TIME is over,
// resting in between; each says how often it did both.
const againAndAgain = `
end=$(($(date +%s) + TIME))
again() {
	name=$1 n=0
	while [ "$(date +%s)" -lt "$end" ]; do
		n=$((n + 1))
		"$name" "$n" >"$HOME/$name.log" 2>&1 || { echo "$name failed in round $n:"; cat "$HOME/$name.log"; return 1; }
		sleep 1
	done
	echo "$name: $n rounds"
}
crane_rounds() { crane push "$HOME/image.tar" "acme/app:crane-$1" && crane pull "acme/app:crane-$1" "$HOME/crane.tar"; }
docker_rounds() { docker tag LOCAL "acme/app:docker-$1" && docker push "acme/app:docker-$1" && docker image rm -f "acme/app:docker-$1" && docker pull "acme/app:docker-$1"; }
buildah_rounds() { buildah push LOCAL "docker://docker.io/acme/app:buildah-$1" && buildah pull --policy always "docker.io/acme/app:buildah-$1"; }
buildah pull -q "docker-archive:$HOME/image.tar" || exit 1
again crane_rounds & a=$!
again docker_rounds & b=$!
again buildah_rounds & c=$!
wait $a && wait $b && wait $c
`

// TestAJobOfTwelveTokens is the hour of a job whose tokens end after five
// minutes, sixty times as fast: no client is refused once. A token that has
// ended works on for six lives more, so that a client which has just got one may
// be slow; who is given the same one for longer is refused.
func TestAJobOfTwelveTokens(t *testing.T) {
	t.Parallel()
	need(t, "crane", "docker", "dockerd", "buildah")
	const life, lives = 5 * time.Second, 12
	w := newWorld(t)
	c := fakecloud.Start(t)
	w.reach(t, c)
	h, acme := hub(c, dockerhub.Options{FederatedLife: life, Grace: lives / 2 * life})
	w.actionsJob(c, acme)
	w.configure()
	w.hubEngine(t)
	for _, k := range clients[:2] {
		k.ready(t, w)
	}
	j := w.openJob(t, "-q", "--ca", w.path("ca.pem"), "-r", "docker.io/acme/app=push")
	script := strings.NewReplacer("TIME", strconv.Itoa(int((lives * life).Seconds())), "LOCAL", localImage).Replace(againAndAgain)
	out := must(t, j, cmd("sh", "-s").in(script).within(lives*life+commandLimit))
	for _, name := range []string{"crane", "docker", "buildah"} {
		_, rest, _ := strings.Cut(out, name+"_rounds: ")
		n, _, _ := strings.Cut(rest, " ")
		if rounds, err := strconv.Atoi(n); err != nil || rounds < 2 {
			t.Errorf("%s: %q rounds in %d lives of a token", name, n, lives)
		}
	}
	n := h.Counts().Federated
	t.Logf("%d tokens\n%s", n, out)
	// It is renewed when somebody asks, and a slow client asks rarely.
	if n <= 2 {
		t.Errorf("%d tokens were made in %d lives", n, lives)
	}
	if n := c.Count(func(r fakecloud.Request) bool {
		return r.Host == dockerhub.AuthHost && r.Status >= http.StatusBadRequest
	}); n > 0 {
		t.Errorf("Docker Hub refused %d logins", n)
	}
}

// TestEachBuildAsksAnew: what buildx keeps for 4 min 50 s is one build's. That
// asks once for all it pulls, the engine's builder again for what it pushes, and
// no build begins with what another one got.
func TestEachBuildAsksAnew(t *testing.T) {
	t.Parallel()
	need(t, "crane", "docker", "dockerd", "docker-buildx")
	const life = 6 * time.Second
	w := newWorld(t)
	c := fakecloud.Start(t)
	w.reach(t, c)
	_, acme := hub(c, dockerhub.Options{FederatedLife: life, Grace: time.Hour})
	w.actionsJob(c, acme)
	w.configure()
	w.hubEngine(t)
	for _, k := range clients[:3] {
		k.ready(t, w)
	}
	j := w.openJob(t, "-q", "--ca", w.path("ca.pem"), "-r", "docker.io/acme")
	for _, base := range []string{"acme/base:1", "acme/second:1"} {
		must(t, j, cmd("crane", "push", w.path("image.tar"), base))
	}
	dir := w.buildContext("acme/base:1\nCOPY --from=acme/second:1 / /second/")
	build := func(name string, args ...string) []string {
		t.Helper()
		r := j.run(cmd(slices.Concat([]string{"docker", "buildx", "build", "--pull", "--no-cache", "--progress", "plain"}, args, []string{dir})...))
		if r.code != 0 {
			t.Fatalf("%s: exit %d\n%s", name, r.code, r.out)
		}
		keys := w.keys(r.at)
		t.Logf("%s asked for %q", name, keys)
		if slices.ContainsFunc(keys, func(k string) bool { return k != "https://index.docker.io/v1/" }) {
			t.Errorf("%s asked for %q", name, keys)
		}
		return keys
	}
	if keys := build("a build"); len(keys) != 1 {
		t.Errorf("it asked %d times", len(keys))
	}
	time.Sleep(life)
	if keys := build("one that pushes", "--push", "-t", "acme/app:1", "-t", "acme/other:1"); len(keys) == 0 {
		t.Error("it did not ask")
	}
}

// TestABuildThatOutlivesItsTokensPushes: the builder of the engine, by way of
// buildx, asks again for what it pushes, however long the build was. BuildKit
// keeps what it got: docs/clients.md has what was measured with it.
func TestABuildThatOutlivesItsTokensPushes(t *testing.T) {
	t.Parallel()
	need(t, "crane", "docker", "dockerd", "docker-buildx")
	const life = 3 * time.Second
	w := newWorld(t)
	c := fakecloud.Start(t)
	w.reach(t, c)
	h, acme := hub(c, dockerhub.Options{FederatedLife: life, Grace: time.Hour})
	w.actionsJob(c, acme)
	w.configure()
	w.hubEngine(t)
	for _, k := range clients[:3] {
		k.ready(t, w)
	}
	j := w.openJob(t, "-q", "--ca", w.path("ca.pem"), "-r", "docker.io/acme")
	must(t, j, cmd("crane", "push", w.path("image.tar"), "acme/base:1"))
	var between, ended time.Time
	made := 0
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && between.IsZero() {
			between = time.Now()
			time.Sleep(2 * life)
			made, ended = h.Counts().Federated, time.Now()
		}
	}))
	t.Cleanup(slow.Close)
	dir := w.buildContext("acme/base:1\nADD " + slow.URL + " /slow")
	r := j.run(cmd("docker", "buildx", "build", "--pull", "--no-cache", "--progress", "plain", "--push", "-t", "acme/app:1", dir))
	slow.Close() // what it wrote is there now
	if r.code != 0 {
		t.Fatalf("exit %d\n%s", r.code, r.out)
	}
	asked := w.recent(r.at)
	if !slices.ContainsFunc(asked, func(a api.Recent) bool { return a.Time.Before(between) }) ||
		!slices.ContainsFunc(asked, func(a api.Recent) bool { return a.Time.After(ended) }) {
		t.Errorf("asked %+v; the base was pulled before %s, the image pushed after %s", asked, between, ended)
	}
	if h.Counts().Federated == made {
		t.Error("the push got a token from before the build")
	}
}
