// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"slices"
	"testing"

	"github.com/regmint/regmint/agent/api"
)

// A caller of another release has another table of names: what its mark covers
// is not known here, so the agent asks.
func TestAMarkCoversItsOwnTableAlone(t *testing.T) {
	names := []string{api.EnvNames[0], "MY_TOKEN"}
	own := parseEnv(api.UnsetEnv(nil))
	if got := own.missing(names); !slices.Equal(got, []string{"MY_TOKEN"}) {
		t.Errorf("our own table: missing %q", got)
	}
	if got := parseEnv([]string{"*1"}).missing(names); !slices.Equal(got, names) {
		t.Errorf("another table: missing %q", got)
	}
	if got := parseEnv([]string{"*1", names[0], "MY_TOKEN=x"}).missing(names); len(got) > 0 {
		t.Errorf("all named: missing %q", got)
	}
}
