// SPDX-License-Identifier: Apache-2.0

package helper

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regmint/regmint/agent/api"
)

const formerCredential = "0\n--\n" + `{"ServerURL":"someone.else","Username":"f","Secret":"x<y"}` + "\n--\nnoise"

func TestAFormerHelperAnswersAfterNotFound(t *testing.T) { // rule 17
	r := newRig(t).agent()
	former := r.program("former", formerCredential)
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.NotFound, Behind: former}
	}
	t.Setenv("CALLERS_OWN", "1")
	got := r.run("get", "https://reg.example")
	if got != (result{0, `{"ServerURL":"https://reg.example","Username":"f","Secret":"x\u003cy"}` + "\n", ""}) {
		t.Errorf("%+v", got)
	}
	p := r.played()
	if len(p) != 1 || !slices.Equal(p[0].Args, []string{"get"}) || p[0].Input != "https://reg.example" || !slices.Contains(p[0].Env, "CALLERS_OWN=1") {
		t.Errorf("%+v", p)
	}
	for do, want := range map[string]string{
		"1\n--\n" + notFoundLine + "\n--\n":          "",
		"0\n--\n{\"ServerURL\":\"h\"}\n--\n":         "",
		"1\n--\nvault is sealed\nmore\n--\n":         "vault is sealed",
		"2\n--\n\n--\n\x1b[31mpanic: x\ngoroutine 1": `\x1b[31mpanic: x`,
		"3\n--\n\n--\n":         "exit status 3",
		"0\n--\nnot json\n--\n": "no usable answer",
		"0\n--\n{\"Username\":\"u\",\"Secret\":\"\"}\n--\n": "no credentials secret",
		"0\n--\n" + strings.Repeat("x", 300<<10) + "\n--\n": "longer than 256 KiB",
		"1\n--\ncredentials not found somewhere else\n--\n": "credentials not found somewhere else",
	} {
		r.do("former", do)
		got := r.run("get", "https://reg.example")
		if want == "" {
			wantNotFound(t, got)
			continue
		}
		wantFailure(t, got, "reg.example: ", want)
		if !strings.Contains(want, "secret") && !strings.Contains(got.out, former) {
			t.Errorf("%q does not name the helper", got.out)
		}
	}
}

func TestAFormerHelperThatHangsIsKilled(t *testing.T) {
	r := newRig(t).agent()
	former := r.program("former", "hang\n--\n\n--\n")
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.NotFound, Behind: former}
	}
	wantFailure(t, r.run("get", "reg.example"), "reg.example: helper "+former+" does not answer within 5s")
}

func TestRegmintIsNeverBehindItself(t *testing.T) {
	r := newRig(t).agent()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(r.dir, "docker-credential-other")
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	behind := ""
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.NotFound, Behind: behind}
	}
	for _, behind = range []string{link, exe, "relative/docker-credential-x", "docker-credential-x"} {
		wantNotFound(t, r.run("get", "reg.example"))
	}
	// A copy is another file; the mark in its environment ends the circle.
	data, err := os.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	behind = filepath.Join(r.dir, "docker-credential-regmint-copy")
	if err := os.WriteFile(behind, data, 0o700); err != nil {
		t.Fatal(err)
	}
	r.gets = nil
	wantNotFound(t, r.run("get", "reg.example"))
	if len(r.gets) != 2 {
		t.Errorf("%d gets, want ours and the copy's", len(r.gets))
	}
}

func TestAFormerHelperThatIsGone(t *testing.T) {
	r := newRig(t).agent()
	gone := filepath.Join(r.dir, "gone")
	r.onGet = func(api.GetRequest) api.GetResponse {
		return api.GetResponse{Outcome: api.NotFound, Behind: gone}
	}
	wantFailure(t, r.run("get", "reg.example"), "reg.example: helper "+gone+": file does not exist")
	t.Setenv("REGMINT_SOCKET", r.MainSocket()) // in a container with a job's directory
	wantNotFound(t, r.run("get", "reg.example"))
}

func TestLoginsOfNoAccountGoToTheFormerHelper(t *testing.T) {
	r := newRig(t).agent()
	former := r.program("former", "0\n--\n\n--\n")
	r.onLogin = func(string, api.Login) api.Reply { return api.Reply{Outcome: api.NotFound, Behind: former} }
	const login = `{"ServerURL":"h","Username":"u","Secret":"s"}`
	wantSilent(t, r.run("store", login))
	wantSilent(t, r.run("erase", "h"))
	p := r.played()
	if len(p) != 2 || p[0].Args[0] != "store" || p[0].Input != login || p[1].Args[0] != "erase" || p[1].Input != "h" {
		t.Errorf("%+v", p)
	}
	r.do("former", "1\n--\n"+notFoundLine+"\n--\n")
	wantSilent(t, r.run("erase", "h"))
	r.do("former", "1\n--\nlocked\n--\n")
	wantFailure(t, r.run("store", login), "h: helper "+former+": locked")
	wantFailure(t, r.run("erase", "h"), "h: helper "+former+": locked")
}

func TestListMergesFormerHelpersAndLeavesOutThoseThatFail(t *testing.T) {
	r := newRig(t).agent()
	var behind []string
	for name, do := range map[string]string{
		"former1": "0\n--\n{\"ghcr.io\":\"theirs\",\"a\":\"1\"}\n--\nnoise",
		"former2": "0\n--\n{\"b\":\"2\"}\n--\n",
		"former3": "1\n--\n{\"c\":\"3\"}\n--\n",
		"former4": "0\n--\nnull\n--\n",
		"former5": "0\n--\n[]\n--\n",
		"former6": "hang\n--\n{\"d\":\"4\"}\n--\n",
	} {
		behind = append(behind, r.program(name, do))
	}
	behind = append(behind, "relative", filepath.Join(r.dir, "gone"))
	r.onList = func() api.ListResponse {
		return api.ListResponse{Outcome: api.OK, Entries: map[string]string{"ghcr.io": "u"}, Behind: behind}
	}
	if got := r.run("list", ""); got != (result{0, `{"a":"1","b":"2","ghcr.io":"u"}` + "\n", ""}) {
		t.Errorf("%+v", got)
	}
}

func TestListNamesNoHostOfAFormerHelperThatGetFailsFor(t *testing.T) {
	r := newRig(t).agent()
	former := r.program("former", "0\n--\n{\"https://reg.example/v2/\":\"1\",\"https://index.docker.io/v1/\":\"2\",\"reg.example.org\":\"3\"}\n--\n")
	r.onList = func() api.ListResponse {
		return api.ListResponse{Outcome: api.OK, Behind: []string{former}, Withheld: []string{"reg.example", "https://index.docker.io/v1/"}}
	}
	if got := r.run("list", ""); got != (result{0, `{"reg.example.org":"3"}` + "\n", ""}) {
		t.Errorf("%+v", got)
	}
}
