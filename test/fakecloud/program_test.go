// SPDX-License-Identifier: Apache-2.0

package fakecloud_test

import (
	"bytes"
	"errors"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
)

func TestAProgramHandsOnHowItWasCalledAndShowsTheAnswer(t *testing.T) {
	t.Parallel()
	c := fakecloud.Start(t)
	var mu sync.Mutex // a process between is no order that the race detector sees
	var got fakecloud.Call
	want := fakecloud.Result{Stdout: "a 'quoted' $line\n\n  indented \\ and no end", Stderr: "über\n", Code: 3}
	p := c.Program(t, "tool", []string{"TOOL_A", "TOOL_B", "TOOL_C"}, func(c fakecloud.Call) fakecloud.Result {
		mu.Lock()
		defer mu.Unlock()
		got = c
		return want
	})
	args := []string{"auth", "", "--x=a b", "two\nlines", "ünï", "$(touch x)"}
	run := func(stdin string) fakecloud.Result {
		t.Helper()
		cmd := exec.Command(p.Path, args...)
		cmd.Env = []string{"HOME=/nowhere", "TOOL_A=1 2", "TOOL_B=", "PATH="}
		if stdin != "" {
			cmd.Stdin = strings.NewReader(stdin)
		}
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		mu.Unlock()
		err := cmd.Run()
		mu.Lock()
		if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
			t.Fatal(err)
		}
		return fakecloud.Result{Stdout: out.String(), Stderr: errs.String(), Code: cmd.ProcessState.ExitCode()}
	}
	mu.Lock()
	defer mu.Unlock()
	if res := run("in\nput"); res != want {
		t.Errorf("%+v", res)
	}
	if !reflect.DeepEqual(got, fakecloud.Call{Args: args, Env: map[string]string{"HOME": "/nowhere", "TOOL_A": "1 2", "TOOL_B": ""}, Stdin: "in\nput"}) {
		t.Errorf("%+v", got)
	}
	if run(""); got.Stdin != "" || len(p.Calls()) != 2 {
		t.Errorf("%q, %d calls", got.Stdin, len(p.Calls()))
	}
	want = fakecloud.Result{}
	args = nil
	if res := run(""); res != want || len(got.Args) != 0 {
		t.Errorf("%+v %q", res, got.Args)
	}
	p.Break(&fakecloud.Result{Stderr: "broken\n", Code: 2})
	if res := run(""); res.Code != 2 || res.Stderr != "broken\n" {
		t.Errorf("%+v", res)
	}
}
