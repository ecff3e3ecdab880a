// SPDX-License-Identifier: Apache-2.0

package config

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/regmint/regmint/providers"
)

// TestMain lets the test binary be one of several writers.
func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv("REGMINT_TEST_SAVED_DIR"); ok {
		os.Exit(writerMain(dir, os.Getenv("REGMINT_TEST_SAVED_ID")))
	}
	os.Exit(m.Run())
}

func writerMain(dir, id string) int {
	for i := range 10 {
		err := savedIn(dir).Update(context.Background(), func(s *Saved) error {
			s.Put(providers.Account{Name: fmt.Sprintf("acc-%s-%d", id, i), Provider: "generic", Hosts: patterns("r" + id + ".example")})
			return nil
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return 0
}

func savedIn(dir string) SavedFile {
	return SavedFile{Path: filepath.Join(dir, "config", "config.d", "regmint.toml"), StateDir: filepath.Join(dir, "state"), Providers: products()}
}

func patterns(hosts ...string) []providers.Pattern {
	var out []providers.Pattern
	for _, h := range hosts {
		p, err := providers.ParsePattern(h)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

func host(t *testing.T, s string) providers.Host {
	t.Helper()
	h, err := providers.ParseHost(s)
	must(t, err)
	return h
}

func update(t *testing.T, f SavedFile, change func(*Saved) error) {
	t.Helper()
	if err := f.Update(t.Context(), change); err != nil {
		t.Fatal(err)
	}
}

// full is an account with every kind of value in it.
func full() providers.Account {
	yes := true
	o := &appOptions{AppID: -7, Key: providers.SecretRef{Scheme: "file", Value: "/k.pem"}, Scopes: []string{`a"b`, "c\\d"}, Strict: &yes}
	o.Inner.Token = providers.SecretRef{Scheme: "exec", Value: "/bin/x", Args: []string{"a b", `"`}}
	o.Inner.Life = providers.Duration(90 * time.Second)
	return providers.Account{
		Name: "full", Provider: "app", Hosts: patterns("r.app.example", "*.app.example/team"), Default: true, Username: `u "x" \ é`,
		Password: providers.SecretRef{Scheme: "keyring", Value: "r.app.example"}, Access: providers.Push | providers.Delete,
		Repositories: []string{"b/c", "a"}, Narrow: providers.NarrowRequire, OnFailure: providers.OnFailureAnonymous, PlainHTTP: true,
		CAFile: "/ca.pem", HTTPSProxy: "http://p:1", NoProxy: "x", RealmHosts: []string{"auth.example"}, Endpoint: "https://api.example",
		ExpiresIn: providers.Duration(12 * time.Hour), Rotate: providers.Duration(14 * 24 * time.Hour),
		RotateTo: providers.SecretRef{Scheme: "exec", Value: "/bin/put", Args: []string{"x"}}, Options: o,
	}
}

func TestSavedSettingsReadBackAsTheyWere(t *testing.T) {
	f := savedIn(t.TempDir())
	in := full()
	update(t, f, func(s *Saved) error {
		s.Put(in)
		s.Put(providers.Account{Provider: "generic", Hosts: patterns("localhost:5000"), PlainHTTP: false})
		s.AcceptRealm(host(t, "reg.example"), host(t, "auth.example"))
		s.AcceptRealm(host(t, "reg.example"), host(t, "auth.example"))
		return errors.Join(s.SetBehind("*", "desktop"), s.SetBehind("GCR.io", "gcloud"), s.SetBehind("quay.io", "x"), s.SetBehind("quay.io", ""))
	})
	s, err := f.Read()
	must(t, err)
	out := s.Accounts[0]
	out.Layer, out.Source, out.Grants = in.Layer, in.Source, in.Grants
	if !reflect.DeepEqual(in, out) {
		t.Errorf("in  %+v\nout %+v", in, out)
	}
	if local := s.Accounts[1]; local.PlainHTTP || local.Name != "generic-localhost-5000" {
		t.Errorf("TLS on loopback is lost: %+v", local)
	}
	if want := map[string]string{"*": "desktop", "gcr.io": "gcloud"}; !reflect.DeepEqual(s.Behind, want) {
		t.Errorf("behind %v", s.Behind)
	}
	if want := map[string][]string{"reg.example": {"auth.example"}}; !reflect.DeepEqual(s.Realms, want) {
		t.Errorf("realms %v", s.Realms)
	}
	c, err := Load(LoadOptions{Paths: Paths{Saved: f.Path}, Providers: products()})
	if err != nil || len(c.Accounts) != 2 {
		t.Errorf("Load: %v %v", c, err)
	}
}

func TestSavedFileIsPrivateAndSaysWhoWritesIt(t *testing.T) {
	f := savedIn(t.TempDir())
	update(t, f, func(s *Saved) error { s.Put(full()); return nil })
	data, err := os.ReadFile(f.Path)
	must(t, err)
	if !strings.HasPrefix(string(data), "# written by regmint; edit config.toml instead\n") {
		t.Errorf("header: %s", data)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, want := range map[string]os.FileMode{f.Path: 0o600, filepath.Dir(f.Path): 0o700, f.StateDir: 0o700} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
}

func TestReplacingAndRemovingAccounts(t *testing.T) {
	f := savedIn(t.TempDir())
	update(t, f, func(s *Saved) error {
		s.Put(providers.Account{Name: "a", Provider: "generic", Hosts: patterns("a.example")})
		s.Put(providers.Account{Name: "b", Provider: "generic", Hosts: patterns("b.example")})
		s.Put(providers.Account{Name: "A", Provider: "generic", Hosts: patterns("c.example")})
		return nil
	})
	update(t, f, func(s *Saved) error {
		if len(s.Accounts) != 2 || s.Remove("none") || !s.Remove("b") {
			t.Errorf("accounts %+v", s.Accounts)
		}
		s.ForgetRealms(host(t, "a.example"))
		return nil
	})
	s, err := f.Read()
	if err != nil || len(s.Accounts) != 1 || s.Accounts[0].Hosts[0].String() != "c.example" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestOrderOfChangesDoesNotShowInTheFile(t *testing.T) {
	var files [2][]byte
	for i := range files {
		f := savedIn(t.TempDir())
		names := []string{"a", "b", "c"}
		if i == 1 {
			slices.Reverse(names)
		}
		for _, n := range names {
			update(t, f, func(s *Saved) error {
				s.Put(providers.Account{Name: n, Provider: "generic", Hosts: patterns(n + ".example")})
				s.AcceptRealm(host(t, "reg.example"), host(t, n+".example"))
				return s.SetBehind(n+".example", n)
			})
		}
		var err error
		files[i], err = os.ReadFile(f.Path)
		must(t, err)
	}
	if string(files[0]) != string(files[1]) {
		t.Errorf("%s\n%s", files[0], files[1])
	}
}

func TestNothingIsWrittenWithoutAChange(t *testing.T) {
	f := savedIn(t.TempDir())
	update(t, f, func(*Saved) error { return nil })
	if _, err := os.Stat(f.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty file was made: %v", err)
	}
	update(t, f, func(s *Saved) error { s.Put(full()); return nil })
	before, err := os.ReadFile(f.Path)
	must(t, err)
	boom := errors.New("boom")
	if err := f.Update(t.Context(), func(s *Saved) error { s.Remove("full"); return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	for name, a := range map[string]providers.Account{
		"no hosts":      {Name: "x", Provider: "generic"},
		"bad name":      {Name: "../x", Provider: "generic", Hosts: patterns("a.example")},
		"bad provider":  {Name: "x", Provider: "none", Hosts: patterns("a.example")},
		"bad user name": {Name: "x", Provider: "generic", Hosts: patterns("a.example"), Username: "a\nb"},
		"not UTF-8":     {Name: "x", Provider: "generic", Hosts: patterns("a.example"), Username: "\xff"},
		"foreign key":   {Name: "x", Provider: "generic", Hosts: patterns("a.example"), Options: &cloudOptions{RoleARN: "x"}},
		"chan": {Name: "x", Provider: "generic", Hosts: patterns("a.example"), Options: &struct {
			C chan int `toml:"c"`
		}{make(chan int)}},
	} {
		if err := f.Update(t.Context(), func(s *Saved) error { s.Put(a); return nil }); err == nil {
			t.Errorf("%s was saved", name)
		}
	}
	if after, err := os.ReadFile(f.Path); err != nil || string(after) != string(before) {
		t.Errorf("the file changed: %s %v", after, err)
	}
}

// H61's rule for our own file: a malformed file is never written over.
func TestMalformedMachineFileIsNeverWrittenOver(t *testing.T) {
	for _, text := range []string{"[[account]]\nhosts = [\n", "future = 1\n", "\x00"} {
		f := savedIn(t.TempDir())
		write(t, f.Path, text)
		called := false
		err := f.Update(t.Context(), func(*Saved) error { called = true; return nil })
		if err == nil || called {
			t.Fatalf("%q was taken", text)
		}
		wantText(t, err.Error(), f.Path, "nothing was written")
		if strings.HasPrefix(text, "future") {
			wantText(t, err.Error(), "a newer regmint may have written it")
		}
		if got, err := os.ReadFile(f.Path); err != nil || string(got) != text {
			t.Errorf("the file changed: %q %v", got, err)
		}
	}
}

func TestLeftoversOfKilledWritesAreSwept(t *testing.T) {
	f := savedIn(t.TempDir())
	left := write(t, filepath.Join(filepath.Dir(f.Path), tempPrefix+"123"), "x")
	mine := write(t, filepath.Join(filepath.Dir(f.Path), "other.toml"), "x")
	update(t, f, func(s *Saved) error { s.Put(full()); return nil })
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Error("a temporary file survives")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error("a file of somebody else is gone")
	}
}

func TestMachineFileThatIsALinkIsWrittenThrough(t *testing.T) {
	dir := t.TempDir()
	f := savedIn(dir)
	real := write(t, filepath.Join(dir, "dotfiles", "r.toml"), "")
	must(t, os.MkdirAll(filepath.Dir(f.Path), 0o700))
	if err := os.Symlink(real, f.Path); err != nil {
		t.Skip("SKIPPED LOUDLY: no symbolic links here:", err)
	}
	update(t, f, func(s *Saved) error { s.Put(full()); return nil })
	if info, err := os.Lstat(f.Path); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v %v", info, err)
	}
	if data, err := os.ReadFile(real); err != nil || !strings.Contains(string(data), "full") {
		t.Errorf("%s %v", data, err)
	}
}

func TestUpdateGivesUpWithItsCaller(t *testing.T) {
	f := savedIn(t.TempDir())
	must(t, os.MkdirAll(f.StateDir, 0o700))
	lock := flock.New(filepath.Join(f.StateDir, "config.lock"))
	must(t, lock.Lock())
	defer lock.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := f.Update(ctx, func(*Saved) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestEightProcessesSaveAtOnceAndNothingIsLost(t *testing.T) {
	dir := t.TempDir()
	exe, err := os.Executable()
	must(t, err)
	var cmds []*exec.Cmd
	for i := range 8 {
		cmd := exec.Command(exe)
		cmd.Env = append(os.Environ(), "REGMINT_TEST_SAVED_DIR="+dir, fmt.Sprintf("REGMINT_TEST_SAVED_ID=%d", i))
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		cmds = append(cmds, cmd)
	}
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	s, err := savedIn(dir).Read()
	must(t, err)
	if len(s.Accounts) != 80 {
		t.Errorf("%d of 80 accounts", len(s.Accounts))
	}
}

func TestNoPlaceForSavedSettingsIsSaid(t *testing.T) {
	err := SavedFile{StateDir: t.TempDir()}.Update(t.Context(), func(*Saved) error { return nil })
	if err == nil {
		t.Fatal("no error")
	}
	wantText(t, err.Error(), "no home directory")
}

func TestLoginThatEndsByItselfIsNoAccountAndComesBackAsWritten(t *testing.T) {
	f := savedIn(t.TempDir())
	until := time.Date(2031, 2, 3, 4, 5, 6, 700, time.FixedZone("", 3600))
	host, err := providers.ParsePattern("one.example")
	must(t, err)
	spare := Spare{Until: until, Account: providers.Account{
		Name: "one.example-token", Provider: "generic", Hosts: []providers.Pattern{host}, Username: "AWS",
		Password: providers.SecretRef{Scheme: "keyring", Value: "one.example#one.example-token"},
	}}
	must(t, f.Update(t.Context(), func(s *Saved) error { s.PutSpare(spare); return nil }))
	cfg, err := Load(LoadOptions{Paths: Paths{User: filepath.Join(t.TempDir(), "none.toml"), Saved: f.Path}, Providers: f.Providers})
	must(t, err)
	if len(cfg.Accounts) != 0 || len(cfg.Spares) != 1 || !cfg.Spares[0].Until.Equal(until.Truncate(time.Second)) || cfg.Spares[0].Username != "AWS" || cfg.Spares[0].Layer != providers.LayerSaved {
		t.Fatalf("%+v, %+v", cfg.Accounts, cfg.Spares)
	}
	// A login of the same name that does not end is an account again.
	must(t, f.Update(t.Context(), func(s *Saved) error { s.Put(spare.Account); return nil }))
	s, err := f.Read()
	must(t, err)
	if len(s.Expires) != 0 || len(s.Accounts) != 1 {
		t.Errorf("%+v", s)
	}
	must(t, f.Update(t.Context(), func(s *Saved) error { s.PutSpare(spare); s.Remove(spare.Name); return nil }))
	if s, err = f.Read(); err != nil || len(s.Expires)+len(s.Accounts) != 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestEndOfALoginThatIsNoTimeIsRefused(t *testing.T) {
	f := savedIn(t.TempDir())
	must(t, os.MkdirAll(filepath.Dir(f.Path), 0o700))
	write(t, f.Path, "[expires]\n\"a\" = \"tomorrow\"\n")
	if _, err := f.Read(); err == nil || !strings.Contains(err.Error(), "no time") {
		t.Errorf("%v", err)
	}
}
