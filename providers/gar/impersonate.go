// SPDX-License-Identifier: Apache-2.0

package gar

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

func trimSlash(s string) string { return strings.TrimRight(s, "/") }

func lastOf(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }

// generate calls generateAccessToken of the IAM credentials API:
//
//	{"lifetime":"3600s","scope":[…]} -> {"accessToken":"…","expireTime":"2026-11-21T08:25:11Z"}
func (w *wire) generate(to string, bearer providers.Secret, in any) (access, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return access{}, &providers.Error{Kind: providers.Misconfigured, Host: w.host, Err: errors.New("impersonation: the request cannot be encoded")}
	}
	w.sent = append(w.sent, bearer)
	res, err := w.do(httpx.Request{
		Method: http.MethodPost, URL: to, Body: body,
		Header: http.Header{"Authorization": {"Bearer " + bearer.Reveal()}, "Content-Type": {"application/json"}, "Accept": {"application/json"}},
	})
	if err != nil || w.fail != nil {
		return access{}, w.explain(w.fail)
	}
	var out struct {
		AccessToken string `json:"accessToken"`
		ExpireTime  string `json:"expireTime"`
	}
	if json.Unmarshal(res.Body, &out) != nil || out.AccessToken == "" || httpx.HasBreak(out.AccessToken) {
		return access{}, w.unusable(errors.New("the answer holds no token"))
	}
	a := access{value: providers.NewSecret(out.AccessToken)}
	if out.ExpireTime != "" {
		if a.expires, err = time.Parse(time.RFC3339, out.ExpireTime); err != nil {
			return access{}, w.unusable(errors.New("the answer's expireTime is no date"))
		}
	}
	return a, nil
}
