// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud/aws"
)

func TestCtrlCAtALoginLeavesNothing(t *testing.T) {
	r := newAmazon(t, aws.Options{})
	w := newWorld(t, r.cloud)
	r.sso(w, "jane", 0)
	x := w.terminal([]line{{"waiting for you", "\x03"}}, "regmint", "login", ecrOne)
	if x.code != 130 || strings.Contains(x.out, "logged in") {
		t.Errorf("%s", x)
	}
	if text := w.read(".config/regmint/config.d/regmint.toml"); text != "" {
		t.Errorf("written: %s", text)
	}
}
