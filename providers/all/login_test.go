// SPDX-License-Identifier: Apache-2.0

package all_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/all"
)

// A saved login belongs to a product that hands it out unchanged and says more
// about it: those whose clients mint for themselves keep none.
func TestProductsThatKeepLogins(t *testing.T) {
	var names []string
	for _, p := range all.List() {
		k, ok := p.(providers.LoginKeeper)
		if !ok {
			continue
		}
		names = append(names, p.Name())
		if got, want := reflect.TypeOf(k.LoginOptions(providers.Account{})), reflect.TypeOf(p.Options()); got != want {
			t.Errorf("%s: options of a login are %v, of an account %v", p.Name(), got, want)
		}
		if _, ends := p.(providers.Ender); !ends {
			t.Errorf("%s: a logout does not say what lives on", p.Name())
		}
		if ok, err := k.KeepsLogin(providers.Host{}, "", providers.Secret{}); ok && k.NeedsUser() || err != nil {
			t.Errorf("%s: nobody's login is kept: %v, %v", p.Name(), ok, err)
		}
	}
	slices.Sort(names)
	if want := []string{"dockerhub", "github", "gitlab"}; !slices.Equal(names, want) {
		t.Errorf("%q keep logins, want %q", names, want)
	}
}
