// SPDX-License-Identifier: Apache-2.0

package cloud

import (
	"strings"
	"testing"

	"github.com/regmint/regmint/test/fakecloud"
)

func TestTheWorldTypesWhatIsAskedFor(t *testing.T) {
	w := newWorld(t, fakecloud.Start(t))
	r := w.terminal([]line{{"one? ", "first"}, {"two? ", ""}}, "sh", "-c", `printf 'one? '; read a; printf 'two? '; read b; echo "<$a|$b>"; exit 3`)
	if r.code != 3 || !strings.Contains(r.out, "<first|>") {
		t.Errorf("%s", r)
	}
	r = w.terminal([]line{{"wait", "\x03"}}, "sh", "-c", "echo wait; exec sleep 50")
	if r.code != 130 {
		t.Errorf("Ctrl-C: %s", r)
	}
}
