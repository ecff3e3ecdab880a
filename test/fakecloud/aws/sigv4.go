// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Signature version 4, as
// docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html describes
// it: a canonical request is hashed, its hash is signed with a key made for one
// day, region and service.
const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	amzTime    = "20060102T150405Z"
	tolerance  = 15 * time.Minute
)

// fault is a refusal before it is known which protocol carries it.
type fault struct {
	kind    faultKind
	message string
}

type faultKind int

const (
	missingAuth faultKind = iota
	incompleteAuth
	unknownKey
	expiredKey
	wrongSignature
	accessDenied
)

// signature is what an Authorization header says.
type signature struct {
	keyID, date, region, service string
	signed                       []string
	hex                          string
	time                         time.Time
}

// authenticate says who signed a request for a service in an endpoint's region.
func (a *AWS) authenticate(r *http.Request, body []byte, service string, ep endpoint) (*accessKey, *fault) {
	s, f := readSignature(r)
	if f != nil {
		return nil, f
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.keys[s.keyID]
	token := r.Header.Get("X-Amz-Security-Token")
	if k == nil || k.revoked || k.SessionToken != token || k.who.partition != ep.partition || k.role != nil && k.role.gone {
		return nil, &fault{unknownKey, "The security token included in the request is invalid."}
	}
	if f := s.scope(r, service, ep.region); f != nil {
		return nil, f
	}
	if f := a.clock(s); f != nil {
		return nil, f
	}
	if want := s.sign(r, body, k.SecretAccessKey); !hmac.Equal([]byte(want), []byte(s.hex)) {
		return nil, &fault{wrongSignature, "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."}
	}
	if k.over(a.c.Now()) {
		return nil, &fault{expiredKey, "The security token included in the request is expired"}
	}
	return k, nil
}

func (k *accessKey) over(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

func readSignature(r *http.Request) (signature, *fault) {
	var s signature
	header := r.Header.Values("Authorization")
	if len(header) != 1 {
		return s, &fault{missingAuth, "Request is missing Authentication Token"}
	}
	bad := func(text string) (signature, *fault) {
		return s, &fault{incompleteAuth, text + " Authorization=" + algorithm}
	}
	rest, ok := strings.CutPrefix(header[0], algorithm+" ")
	if !ok {
		return bad("Authorization header requires 'Credential', 'Signature' and 'SignedHeaders' parameters.")
	}
	credential := ""
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "Credential":
			credential = value
		case "SignedHeaders":
			s.signed = strings.Split(value, ";")
		case "Signature":
			s.hex = value
		default:
			return bad("'" + name + "' not a valid key=value pair (missing equal-sign) in Authorization header.")
		}
	}
	f := strings.Split(credential, "/")
	switch {
	case credential == "":
		return bad("Authorization header requires 'Credential' parameter.")
	case s.hex == "":
		return bad("Authorization header requires 'Signature' parameter.")
	case len(s.signed) == 0:
		return bad("Authorization header requires 'SignedHeaders' parameter.")
	case len(f) != 5:
		return bad("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'.")
	case f[4] != terminator:
		return s, &fault{wrongSignature, "Credential should be scoped with a valid terminator: '" + terminator + "', not '" + f[4] + "'."}
	}
	s.keyID, s.date, s.region, s.service = f[0], f[1], f[2], f[3]
	t, err := time.Parse(amzTime, r.Header.Get("X-Amz-Date"))
	if err != nil {
		return bad("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
	}
	s.time = t
	return s, nil
}

// scope checks what the signature is for, and that it covers what it must.
func (s signature) scope(r *http.Request, service, region string) *fault {
	day := s.time.Format("20060102")
	switch {
	case s.date != day:
		return &fault{wrongSignature, fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.", s.date, day, s.time.Format(amzTime))}
	case s.region != region:
		return &fault{wrongSignature, "Credential should be scoped to a valid region, not '" + s.region + "'. "}
	case s.service != service:
		return &fault{wrongSignature, "Credential should be scoped to correct service: '" + service + "'. "}
	case !slices.IsSorted(s.signed):
		return &fault{wrongSignature, "SignedHeaders must be sorted."}
	}
	need := []string{"host"}
	for name := range r.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-amz-") {
			need = append(need, name)
		}
	}
	slices.Sort(need)
	for _, name := range need {
		if !slices.Contains(s.signed, name) {
			return &fault{wrongSignature, "'" + name + "' must be a 'SignedHeader' in the AWS Authorization."}
		}
	}
	return nil
}

// clock refuses a request of another time. The lock is held.
func (a *AWS) clock(s signature) *fault {
	now := a.c.Now().UTC()
	if a.noClock {
		return nil
	}
	if at := now.Add(-tolerance); s.time.Before(at) {
		return &fault{wrongSignature, fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 15 min.)", s.time.Format(amzTime), at.Format(amzTime), now.Format(amzTime))}
	}
	if at := now.Add(tolerance); s.time.After(at) {
		return &fault{wrongSignature, fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 15 min.)", s.time.Format(amzTime), at.Format(amzTime), now.Format(amzTime))}
	}
	return nil
}

// sign is the signature that the request should have.
func (s signature) sign(r *http.Request, body []byte, secret string) string {
	canonical := sha256.Sum256([]byte(s.canonical(r, body)))
	text := strings.Join([]string{
		algorithm, s.time.Format(amzTime), strings.Join([]string{s.date, s.region, s.service, terminator}, "/"), hex.EncodeToString(canonical[:]),
	}, "\n")
	key := []byte("AWS4" + secret)
	for _, part := range []string{s.date, s.region, s.service, terminator} {
		key = mac(key, part)
	}
	return hex.EncodeToString(mac(key, text))
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

func (s signature) canonical(r *http.Request, body []byte) string {
	var b strings.Builder
	path := r.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	segments := strings.Split(path, "/")
	for i := range segments {
		segments[i] = escape(segments[i]) // twice, for every service but S3
	}
	b.WriteString(r.Method + "\n" + strings.Join(segments, "/") + "\n" + canonicalQuery(r.URL.Query()) + "\n")
	for _, name := range s.signed {
		b.WriteString(name + ":" + headerValue(r, name) + "\n")
	}
	sum := sha256.Sum256(body)
	b.WriteString("\n" + strings.Join(s.signed, ";") + "\n" + hex.EncodeToString(sum[:]))
	return b.String()
}

func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}

func canonicalQuery(q url.Values) string {
	var pairs []string
	for name, values := range q {
		for _, v := range values {
			pairs = append(pairs, escape(name)+"="+escape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

// escape keeps RFC 3986's unreserved characters.
func escape(s string) string {
	return strings.NewReplacer("+", "%20", "%7E", "~").Replace(url.QueryEscape(s))
}
