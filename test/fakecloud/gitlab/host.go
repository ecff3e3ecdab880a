// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// serveHost is everything on the instance's own name.
func (g *GitLab) serveHost(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/jwt/auth":
		g.jwtAuth(w, r)
	case strings.HasPrefix(r.URL.Path, "/oauth/"):
		g.serveOAuth(w, r)
	case strings.HasPrefix(r.URL.Path, "/api/v4/"):
		g.serveAPI(w, r)
	case strings.HasPrefix(r.URL.Path, "/v2/"):
		g.serveProxy(w, r)
	case r.URL.Path == "/users/sign_in":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!DOCTYPE html>\n<html><head><title>Sign in · GitLab</title></head><body></body></html>\n")
	default:
		// Everything else is a page that wants a person to sign in.
		w.Header().Set("Location", "https://"+g.Host()+"/users/sign_in")
		w.WriteHeader(http.StatusFound)
	}
}

// answer answers a step that is done, as Lose and Delay say; v nil: no body.
func (g *GitLab) answer(w http.ResponseWriter, r *http.Request, s Step, status int, v any) {
	if a := g.afterwards(s); a != nil {
		if a.delay > 0 {
			t := time.NewTimer(a.delay)
			defer t.Stop()
			select {
			case <-t.C:
			case <-r.Context().Done():
			}
		}
		if a.cut {
			panic(http.ErrAbortHandler)
		}
	}
	if v == nil {
		w.WriteHeader(status)
		return
	}
	fakecloud.WriteJSON(w, status, v)
}

func (g *GitLab) afterwards(s Step) *afterwards {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range g.after {
		if a.step == s && a.times != 0 {
			a.times--
			return a
		}
	}
	return nil
}

// params reads what a request says in its query and in its body, which is a
// form or JSON. Lists are in several values.
func params(r *http.Request) (url.Values, error) {
	r.Body = http.MaxBytesReader(nil, r.Body, 1<<20)
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		err := r.ParseForm()
		if r.Method == http.MethodDelete { // has a form too, unlike in Go
			var b []byte
			var more url.Values
			if b, err = io.ReadAll(r.Body); err == nil {
				more, err = url.ParseQuery(string(b))
			}
			for k, v := range more {
				r.Form[k] = append(r.Form[k], v...)
			}
		}
		for k, v := range r.Form { // scopes[]=a&scopes[]=b
			if name, ok := strings.CutSuffix(k, "[]"); ok {
				r.Form[name] = append(r.Form[name], v...)
			}
		}
		return r.Form, err
	}
	out := r.URL.Query()
	var m map[string]any
	if err := json.NewDecoder(r.Body).Decode(&m); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for k, v := range m {
		switch v := v.(type) {
		case nil:
		case []any:
			for _, x := range v {
				out.Add(k, fmt.Sprint(x))
			}
		case float64:
			out.Set(k, strconv.FormatFloat(v, 'f', -1, 64))
		default:
			out.Set(k, fmt.Sprint(v))
		}
	}
	return out, nil
}
