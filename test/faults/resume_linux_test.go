// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"encoding/base64"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// killAgent kills the agent and waits for its end.
func (w *world) killAgent() {
	w.t.Helper()
	for _, pid := range w.agents() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
		w.eventually("it ends", func() bool { return !alive(pid) })
	}
}

// answers is what a job of shell functions is asked with: each get prints a line.
const answers = `
get() { printf %s "$1" | docker-credential-regmint get; echo; }
store() { printf '{"ServerURL":"%s","Username":"%s","Secret":"%s"}' "$1" "$2" "$2-secret" | docker-credential-regmint store || exit 98; }
erase() { printf %s "$1" | docker-credential-regmint erase || exit 97; }
await() { : >"$1.here"; until [ -e "$1.go" ]; do sleep 0.01; done; }
`

// await waits for the script to reach a point, does something, and lets it go.
func (w *world) await(point string, do func()) {
	w.t.Helper()
	w.eventually("the job reaches "+point, func() bool { return w.exists(point + ".here") })
	do()
	w.write(point+".go", "")
}

func TestTheNextAgentHasAJobsLoginsAsTheyWere(t *testing.T) {
	w := newWorld(t)
	w.agent()
	auth := base64.StdEncoding.EncodeToString([]byte("carried:carried-secret"))
	s := w.start(script(answers + `
		store https://reg.example/v2/ first
		store reg.example last
		store other.example gone
		erase https://other.example/
		get caller.example
		erase caller.example
		for n in 1 2 3 4 5 6; do
			await $n
			get reg.example
			get other.example
			get caller.example
		done`).with(`DOCKER_AUTH_CONFIG={"auths":{"caller.example":{"auth":"` + auth + `"}}}`))
	for i := range 6 {
		w.await(fmt.Sprint(i+1), w.killAgent)
	}
	s.ends(0)
	want := `{"ServerURL":"caller.example","Username":"carried","Secret":"carried-secret"}` + "\n\n"
	for range 6 {
		want += `{"ServerURL":"reg.example","Username":"last","Secret":"last-secret"}` + "\n\n"
		want += strings.Repeat("credentials not found in native keychain\n\n", 2)
	}
	if got := s.output(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestAJobIsResumedByAnAgentThatAsksForMoreVariables(t *testing.T) {
	w := newWorld(t)
	account := func(name string) string {
		return fmt.Sprintf("\n[[account]]\nname = %q\nprovider = \"generic\"\nhosts = [\"%s.example\"]\nusername = %q\npassword = \"env:TOKEN_%s\"\n", name, name, name, name)
	}
	w.configure(account("a"))
	w.agent()
	s := w.start(script(answers+`get a.example; await 1; get a.example; get b.example`).with("TOKEN_a=one", "TOKEN_b=two"))
	w.await("1", func() {
		w.configure(account("a"), account("b"))
		w.killAgent()
		w.eventually("the next agent has the job", func() bool { return len(w.status().Jobs) == 1 })
	})
	s.ends(0)
	a, b := `{"ServerURL":"a.example","Username":"a","Secret":"one"}`+"\n\n", `{"ServerURL":"b.example","Username":"b","Secret":"two"}`+"\n\n"
	if got := s.output(); got != a+a+b {
		t.Errorf("got:\n%s\nwant:\n%s", got, a+a+b)
	}
}
