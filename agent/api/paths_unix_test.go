// SPDX-License-Identifier: Apache-2.0

//go:build unix

package api

import (
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

func mapEnv(kv ...string) environment {
	return func(name string) (string, bool) {
		for _, e := range kv {
			if v, ok := strings.CutPrefix(e, name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
}

// usual is the runtime directory of a user without variables on this machine.
func usual(uid int, home string) string {
	if runtime.GOOS == "linux" && ownedDir("/run/user/"+strconv.Itoa(uid), uid) {
		return "/run/user/" + strconv.Itoa(uid) + "/regmint"
	}
	if home == "" {
		return "/tmp/regmint-" + strconv.Itoa(uid)
	}
	return home + "/.regmint/run"
}

func TestWhereTheDirectoriesAre(t *testing.T) { // H92
	uid := os.Geteuid()
	home := t.TempDir()
	xdg := filepath.Join(home, "xdg")
	open := filepath.Join(home, "open")
	for dir, mode := range map[string]os.FileMode{xdg: 0o700, open: 0o777} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	state := filepath.Join(home, ".local/state/regmint")
	if runtime.GOOS == "darwin" {
		state = filepath.Join(home, "Library/Application Support/regmint")
	}
	h := "HOME=" + home
	for name, tc := range map[string]struct {
		env  environment
		want Paths
	}{
		"variables of ours":          {mapEnv(h, "REGMINT_RUNTIME_DIR=/x/../r/", "REGMINT_STATE_DIR=/s", "XDG_RUNTIME_DIR="+xdg), Paths{"/r", "/s"}},
		"XDG":                        {mapEnv(h, "XDG_RUNTIME_DIR="+xdg, "XDG_STATE_HOME="+xdg), Paths{xdg + "/regmint", xdg + "/regmint"}},
		"home":                       {mapEnv(h), Paths{usual(uid, home), state}},
		"XDG empty":                  {mapEnv(h, "XDG_RUNTIME_DIR=", "XDG_STATE_HOME="), Paths{usual(uid, home), state}},
		"XDG relative":               {mapEnv(h, "XDG_RUNTIME_DIR=run", "XDG_STATE_HOME=st"), Paths{usual(uid, home), state}},
		"XDG is the root":            {mapEnv(h, "XDG_RUNTIME_DIR=/"), Paths{usual(uid, home), state}},
		"XDG is missing":             {mapEnv(h, "XDG_RUNTIME_DIR="+home+"/none"), Paths{usual(uid, home), state}},
		"XDG for everybody to write": {mapEnv(h, "XDG_RUNTIME_DIR="+open), Paths{usual(uid, home), state}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := findPaths(tc.env, uid, uid)
			if err != nil || got != tc.want {
				t.Errorf("%+v, %v, want %+v", got, err, tc.want)
			}
		})
	}
	for _, kv := range []string{"REGMINT_RUNTIME_DIR=r", "REGMINT_STATE_DIR=./s"} {
		_, err := findPaths(mapEnv(h, kv), uid, uid)
		wantError(t, err, strings.Split(kv, "=")[0]+" must be an absolute path")
	}
}

func TestWithoutAHomeTheDirectoriesAreInTmp(t *testing.T) {
	const nobodys = 3999999999 >> 1 // no passwd entry, no /run/user
	got, err := findPaths(mapEnv(), nobodys, nobodys)
	want := "/tmp/regmint-" + strconv.Itoa(nobodys)
	if err != nil || got != (Paths{want, want + "/state"}) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = findPaths(mapEnv("HOME=relative"), nobodys, nobodys)
	if err != nil || got.Runtime != want {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestWithoutHOMEThePasswdEntryCounts(t *testing.T) {
	u, err := user.Current()
	if err != nil || u.HomeDir == "" {
		t.Skip("this user has no passwd entry")
	}
	uid := os.Geteuid()
	got, err := findPaths(mapEnv(), uid, uid)
	if err != nil || got.Runtime != usual(uid, u.HomeDir) && got.Runtime != usual(uid, "") {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRootLeavesNothingInACallersHome(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	home := t.TempDir()
	if err := os.Chown(home, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	got, err := findPaths(mapEnv("HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_STATE_HOME="+home), 0, 0) // sudo -E
	if err != nil || strings.HasPrefix(got.Runtime, home) || strings.HasPrefix(got.State, home) {
		t.Errorf("%+v, %v", got, err)
	}
	mine := t.TempDir()
	sudo := mapEnv("HOME=/root", "SUDO_UID=12345", "REGMINT_RUNTIME_DIR="+home, "REGMINT_STATE_DIR="+mine, "XDG_RUNTIME_DIR="+mine)
	got, err = findPaths(sudo, 12345, 0)
	if err != nil || got.Runtime != home || strings.HasPrefix(got.State, mine) {
		t.Errorf("the caller's: %+v, %v", got, err)
	}
}

func TestSudoUIDIsReadStrictly(t *testing.T) {
	for v, want := range map[string]int{"1000": 1000, "0": 0, "": -1, "-1": -1, "x": -1, "4294967296": -1, " 1": -1} {
		uid, ok := mapEnv("SUDO_UID=" + v).sudoUID()
		if ok != (want >= 0) || ok && uid != want {
			t.Errorf("%q: %d, %v", v, uid, ok)
		}
	}
}

func TestEnsureMakesPrivateDirectories(t *testing.T) {
	base := shortDir(t)
	p := Paths{Runtime: filepath.Join(base, "a", "r"), State: filepath.Join(base, "b", "s")}
	for range 2 {
		if err := p.Ensure(); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{p.Runtime, p.State, p.JobsDir(), filepath.Join(base, "a")} {
		if info, err := os.Stat(dir); err != nil || info.Mode() != os.ModeDir|0o700 {
			t.Errorf("%s: %v, %v", dir, info.Mode(), err)
		}
	}
}

func TestEnsureRefusesWhatOthersCouldHaveMade(t *testing.T) {
	for name, plant := range map[string]func(t *testing.T, dir string) error{
		"symbolic link": func(t *testing.T, dir string) error { return os.Symlink(t.TempDir(), dir) },
		"file":          func(_ *testing.T, dir string) error { return os.WriteFile(dir, nil, 0o600) },
		"wider mode":    func(_ *testing.T, dir string) error { return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o755)) },
		"open parent": func(_ *testing.T, dir string) error {
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(filepath.Dir(dir), 0o777))
		},
		"another owner": func(t *testing.T, dir string) error {
			if os.Getuid() != 0 {
				t.Skip("needs root")
			}
			return errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 12345, 12345))
		},
	} {
		t.Run(name, func(t *testing.T) {
			base := shortDir(t)
			dir := filepath.Join(base, "r")
			if err := plant(t, dir); err != nil {
				t.Fatal(err)
			}
			before, _ := os.Lstat(dir)
			err := Paths{Runtime: dir, State: filepath.Join(base, "st")}.Ensure()
			if !errors.Is(err, ErrUnsafe) {
				t.Errorf("%v", err)
			}
			if after, err := os.Lstat(dir); err != nil || after.Mode() != before.Mode() {
				t.Errorf("it was changed: %v, %v", after, err)
			}
			_ = os.Chmod(base, 0o700)
		})
	}
	// A sticky directory such as /tmp is the last resort and must do.
	base := shortDir(t)
	if err := os.Chmod(base, 0o777|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := (Paths{Runtime: filepath.Join(base, "r"), State: filepath.Join(base, "s")}).Ensure(); err != nil {
		t.Error(err)
	}
}

func TestCallersSayWhatIsUnsetToo(t *testing.T) {
	first := EnvNames[0]
	setEnv(t, "SET=1", "EMPTY=", "SECRET=a=b", first+"=x")
	got := CallerEnv([]string{"SET", "EMPTY", "UNSET", "SECRET", "SET", "", "A=B", "N\x00L", "*1", first, EnvNames[1]})
	want := first + "=x SET=1 EMPTY= UNSET SECRET=a=b " + EnvNames[1]
	if !CompletesEnv(got[0]) || strings.Join(got[1:], " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := UnsetEnv([]string{"A"}); len(got) != 2 || !CompletesEnv(got[0]) || got[1] != "A" {
		t.Errorf("%q", got)
	}
	if CompletesEnv("*") || CompletesEnv("") || CompletesEnv(first) {
		t.Error("anything completes the table")
	}
}

func TestTheCallerIsTheParentProcess(t *testing.T) {
	pid, name := CallerInfo()
	if pid != os.Getppid() || name == "" || strings.ContainsAny(name, "\n/") {
		t.Errorf("%d %q", pid, name)
	}
}
