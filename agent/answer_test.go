// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"testing"

	"github.com/regmint/regmint/agent/api"
)

func TestALongAnswerReachesTheLeanClient(t *testing.T) {
	s := serve(t, account("a", "reg.example"))
	for i := range recentMax + 1 {
		s.get(s.paths.MainSocket(), fmt.Sprintf("reg.example/team/app-%d", i))
	}
	var list []api.Recent
	if err := s.client().Call(t.Context(), "GET", "/v1/recent", nil, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != recentMax || list[recentMax-1].Key != fmt.Sprintf("reg.example/team/app-%d", recentMax) {
		t.Fatalf("%d answers, the last %+v", len(list), list[len(list)-1])
	}
}
