// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// blobLink is a signed address of a layer.
type blobLink struct {
	repo      *Repository
	digest    string
	signature string
	until     time.Time
}

// redirect answers the address of a layer in S3
// (prod-REGION-starport-layer-bucket.s3.REGION.amazonaws.com), good for an hour.
func (a *AWS) redirect(w http.ResponseWriter, ep endpoint, repo *Repository, digest string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ask(repo, http.MethodHead, "/blobs/"+digest).Code != http.StatusOK {
		registryError(w, http.StatusNotFound, "BLOB_UNKNOWN", "blob unknown to registry")
		return
	}
	path := "/" + random(8) + "-" + repo.key.account + "-" + random(32)
	l := blobLink{repo: repo, digest: digest, signature: random(64), until: a.c.Now().Add(time.Hour)}
	a.blobs[path] = l
	_, suffix, _ := strings.Cut(ep.classic(repo.key.account), "."+ep.region+".")
	w.Header().Set("Location", fmt.Sprintf(
		"https://prod-%[1]s-starport-layer-bucket.s3.%[1]s.%[2]s%[3]s?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=%[4]s&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Signature=%[5]s",
		ep.region, suffix, path, a.c.Now().UTC().Format(amzTime), l.signature))
	w.WriteHeader(http.StatusTemporaryRedirect)
}

// blob is S3, which takes a signed address or an Authorization header, not both:
// a client that sends its credentials on is refused.
func (a *AWS) blob(w http.ResponseWriter, r *http.Request, _ endpoint) {
	a.mu.Lock()
	l, ok := a.blobs[r.URL.Path]
	now := a.c.Now()
	a.mu.Unlock()
	no := func(status int, code, message string) {
		a.head(w, "application/xml")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)
	}
	switch {
	case r.Header.Get("Authorization") != "":
		no(http.StatusBadRequest, "InvalidArgument", "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified")
	case !ok || r.URL.Query().Get("X-Amz-Signature") != l.signature:
		no(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	case !now.Before(l.until):
		no(http.StatusForbidden, "AccessDenied", "Request has expired")
	case r.Method != http.MethodGet:
		no(http.StatusForbidden, "SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your key and signing method.")
	default:
		a.mu.Lock()
		store := a.store(l.repo.key)
		a.mu.Unlock()
		in := httptest.NewRequest(http.MethodGet, "/v2/"+l.repo.key.name+"/blobs/"+l.digest, nil).WithContext(r.Context())
		if s := r.Header.Get("Range"); s != "" {
			in.Header.Set("Range", s)
		}
		store.ServeHTTP(w, in)
	}
}
