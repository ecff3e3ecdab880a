// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// answer is what `docker-credential-regmint get` said.
type answer struct {
	ServerURL, Username, Secret string

	notFound bool   // not found, in the protocol's own words
	failure  string // the one line of a failure, "" otherwise
}

// get asks the helper as docker does: with a key on stdin. It fails the test
// where the helper breaks its protocol.
func (w *world) get(key string, env ...string) answer {
	w.t.Helper()
	r := w.with(env...).feed(key, "docker-credential-regmint", "get")
	switch {
	case r.code == 0:
		var a answer
		if err := json.Unmarshal([]byte(r.out), &a); err != nil || r.err != "" || a.Secret == "" {
			w.t.Errorf("get %s: %v: %s", key, err, r)
		}
		return a
	case strings.TrimSpace(r.out) == "credentials not found in native keychain":
		if r.err != "" || r.code != 1 {
			w.t.Errorf("get %s: not found, but %s", key, r)
		}
		return answer{notFound: true}
	}
	line := strings.TrimSpace(r.out)
	if r.code != 1 || line == "" || strings.Contains(line, "\n") || utf8.RuneCountInString(line) > 160 || !strings.Contains(r.err, line) {
		w.t.Errorf("get %s: a failure is one line on both streams: %s", key, r)
	}
	return answer{failure: line}
}

// mustGet is a get that succeeds.
func (w *world) mustGet(key string, env ...string) answer {
	w.t.Helper()
	a := w.get(key, env...)
	if a.Secret == "" {
		w.t.Fatalf("get %s: not found %t, %q", key, a.notFound, a.failure)
	}
	return a
}

// strict is the helper as a keychain. It tells a failure, where that of
// go-containerregistry goes on without a login.
type strict struct{ w *world }

func (s strict) Resolve(r authn.Resource) (authn.Authenticator, error) {
	a := s.w.get(r.RegistryStr())
	switch {
	case a.failure != "":
		return nil, errors.New(a.failure)
	case a.notFound:
		return authn.Anonymous, nil
	case a.Username == "<token>":
		return authn.FromConfig(authn.AuthConfig{IdentityToken: a.Secret}), nil
	}
	return authn.FromConfig(authn.AuthConfig{Username: a.Username, Password: a.Secret}), nil
}

// options reach the cloud's registries with what the helper answers.
func (w *world) options(env ...string) []remote.Option {
	return []remote.Option{
		remote.WithAuthFromKeychain(strict{w.with(env...)}),
		remote.WithTransport(w.cloud.Client().Transport),
		remote.WithRetryPredicate(func(error) bool { return false }),
		remote.WithRetryStatusCodes(),
	}
}

// push pushes a new image of two layers to HOST/REPO:TAG. The error is the
// registry's (see status) or the helper's line.
func (w *world) push(ref string, env ...string) error {
	w.t.Helper()
	img, err := random.Image(1024, 2)
	if err != nil {
		w.t.Fatal(err)
	}
	return remote.Write(w.ref(ref), img, w.options(env...)...)
}

// pull reads an image with all its layers.
func (w *world) pull(ref string, env ...string) error {
	w.t.Helper()
	img, err := remote.Image(w.ref(ref), w.options(env...)...)
	if err != nil {
		return err
	}
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, r)
		if err = errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) ref(s string) name.Reference {
	w.t.Helper()
	r, err := name.ParseReference(s, name.StrictValidation)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// pushPull pushes and pulls, and fails the test where either fails.
func (w *world) pushPull(ref string, env ...string) {
	w.t.Helper()
	if err := w.push(ref, env...); err != nil {
		w.t.Fatalf("push %s: %v", ref, err)
	}
	if err := w.pull(ref, env...); err != nil {
		w.t.Fatalf("pull %s: %v", ref, err)
	}
}

// status is the registry's status of a refused push or pull, 0 for others.
func status(err error) int {
	if e, ok := errors.AsType[*transport.Error](err); ok {
		return e.StatusCode
	}
	return 0
}

// pushAs pushes with a credential that was got by other means: a job's, a
// narrowed one.
func (w *world) pushAs(ref, user, secret string) error {
	w.t.Helper()
	img, err := random.Image(1024, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return remote.Write(w.ref(ref), img, w.as(user, secret)...)
}

// pullAs reads an image's manifest with such a credential.
func (w *world) pullAs(ref, user, secret string) error {
	w.t.Helper()
	_, err := remote.Get(w.ref(ref), w.as(user, secret)...)
	return err
}

func (w *world) as(user, secret string) []remote.Option {
	return []remote.Option{
		remote.WithAuth(authn.FromConfig(authn.AuthConfig{Username: user, Password: secret})),
		remote.WithTransport(w.cloud.Client().Transport),
		remote.WithRetryPredicate(func(error) bool { return false }),
		remote.WithRetryStatusCodes(),
	}
}

// jsonGet is `regmint get TARGET --format json` with more arguments.
func (w *world) jsonGet(target string, args ...string) map[string]any {
	w.t.Helper()
	out := w.must(append([]string{"regmint", "get", target, "--format", "json"}, args...)...)
	var m map[string]any
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		w.t.Fatalf("get %s: %v: %s", target, err, out)
	}
	return m
}

// craneEnv are the variables with which the crane command reaches the cloud;
// inside `regmint run --ca` the CA is set already.
func (w *world) craneEnv() []string {
	return []string{"HTTPS_PROXY=" + w.cloud.ProxyURL(), "SSL_CERT_FILE=" + w.path("cloud-ca.pem")}
}

// basic is a handler that stands for a registry with one user.
func basic(user, secret string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != secret {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
			return
		}
		h.ServeHTTP(w, r)
	})
}
