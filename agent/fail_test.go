// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

func TestAFailureWithoutAHintOfItsOwnStillSaysWhatToDo(t *testing.T) {
	for kind, want := range map[providers.Kind]string{
		providers.Unavailable:   "reg.example: connection refused; try again, or see: regmint status reg.example",
		providers.LoginRequired: "reg.example: connection refused; run: regmint login reg.example",
		providers.Denied:        "reg.example: connection refused",
	} {
		r := newRig(t, account("a", "reg.example"))
		r.p.err = &providers.Error{Kind: kind, Err: errors.New("connection refused")}
		if resp := r.want(nil, "reg.example", api.Failed, ""); resp.Message != want {
			t.Errorf("%s: %q, want %q", kind, resp.Message, want)
		}
		r.p.err = &providers.Error{Kind: kind, Err: errors.New("connection refused"), Hint: "wait"}
		if err := r.Reload(); err != nil {
			t.Fatal(err)
		}
		r.Refresh(nil, api.HostRequest{})
		if resp := r.want(nil, "reg.example", api.Failed, ""); !strings.HasSuffix(resp.Message, "; wait") {
			t.Errorf("%s: %q", kind, resp.Message)
		}
	}
}
