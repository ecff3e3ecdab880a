// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/regmint/regmint/providers"
)

// StatusError is the cause inside an *Error for an HTTP status that is no
// success.
type StatusError struct {
	What    string
	Status  int
	Code    string // error code of a recognised envelope, "" if none
	Message string // its message, printable, redacted, at most 200 bytes
	URL     string // without userinfo and query
	Until   time.Time
}

// Error reads "token exchange: HTTP 403 at https://…: DENIED: message".
func (e *StatusError) Error() string {
	s := fmt.Sprintf("HTTP %d at %s", e.Status, e.URL)
	if e.What != "" {
		s = e.What + ": " + s
	}
	for _, t := range []string{e.Code, e.Message} {
		if t != "" {
			s += ": " + t
		}
	}
	if !e.Until.IsZero() {
		s += "; not before " + e.Until.UTC().Format(time.RFC3339)
	}
	return s
}

// ErrNotTLS is wrapped by the failure of an https request whose server does
// not speak TLS.
var ErrNotTLS = errors.New("server gave HTTP response to HTTPS client")

// TransportError is the cause inside an *Error where no answer came. It never
// holds the library's own text where that could repeat foreign bytes.
type TransportError struct {
	What    string
	Peer    string // host:port of the URL, where it is not the registry itself
	Reason  string // "connection refused"
	cause   error  // one of the few that carry no foreign text
	passing bool
}

// Error reads "token exchange at auth.example.com: connection refused".
func (e *TransportError) Error() string {
	s := e.What
	if e.Peer != "" {
		if s != "" {
			s += " at "
		}
		s += e.Peer
	}
	if s == "" {
		return e.Reason
	}
	return s + ": " + e.Reason
}

// Unwrap returns context.Canceled, context.DeadlineExceeded, ErrNotTLS, an
// *AddrError or nil.
func (e *TransportError) Unwrap() error { return e.cause }

// judge turns the outcome of a try into the error people see.
func (c *Client) judge(ctx context.Context, r Request, u *url.URL, res *Response, err error, took time.Duration) *providers.Error {
	if err != nil {
		return c.transportFailure(ctx, r, u, err, took)
	}
	red := newRedactor(r)
	code, msg := envelope(res.Body)
	se := &StatusError{What: r.What, Status: res.Status, URL: red.url(res.URL), Code: red.clean(code, 64), Message: red.clean(msg, 200)}
	out := &providers.Error{Kind: kindOf(res.Status, r.Unauthorized), Host: r.Host, Err: se}
	switch {
	case out.Kind == providers.LoginRequired:
		out.Hint = "run: regmint login " + r.Host.String()
	case out.Kind == providers.Unavailable:
		if after := retryAfter(res.Header, c.now()); after > 0 {
			out.RetryAfter = min(after, maxAfter)
			se.Until = c.now().Add(after)
		}
	case res.Status == http.StatusProxyAuthRequired:
		out.Hint = "set https_proxy with a user name and password"
	}
	return out
}

func kindOf(status int, unauthorized providers.Kind) providers.Kind {
	switch {
	case status == 401 && unauthorized != "":
		return unauthorized
	case status == 401:
		return providers.LoginRequired
	case status == 403:
		return providers.Denied
	case status == 408, status == 425, status == 429, status >= 500:
		return providers.Unavailable
	}
	return providers.Misconfigured
}

// Failure turns an error of an SDK that used HTTPClient into an *Error; it
// keeps no text of a URL, a header or a body.
func (c *Client) Failure(ctx context.Context, r Request, err error) *providers.Error {
	u, perr := url.Parse(r.URL)
	if perr != nil {
		u = &url.URL{}
	}
	return c.transportFailure(ctx, r, u, err, 0)
}

func (c *Client) transportFailure(ctx context.Context, r Request, u *url.URL, err error, took time.Duration) *providers.Error {
	te := &TransportError{What: r.What}
	if p := Printable(u.Host, 100); p != r.Host.String() {
		te.Peer = p
	}
	out := &providers.Error{Kind: providers.Unavailable, Host: r.Host, Err: te}
	var ce *configError
	var pe *proxyError
	var re *redirectError
	var ae *AddrError
	switch {
	case errors.As(err, &ce):
		out.Kind, te.Reason = providers.Misconfigured, ce.text
	case errors.As(err, &pe):
		te.Reason = fmt.Sprintf("proxy %s answered HTTP %d", pe.proxy, pe.status)
		if pe.status == http.StatusProxyAuthRequired {
			te.Reason = fmt.Sprintf("proxy %s asks for a login (HTTP 407)", pe.proxy)
			out.Kind, out.Hint = providers.Misconfigured, "set https_proxy with a user name and password"
		}
	case errors.As(err, &re):
		te.Reason = re.Error()
	case errors.As(err, &ae):
		te.Reason, te.cause = ae.Error(), ae
	case errors.Is(err, errTooLarge):
		te.Reason = errTooLarge.Error()
	case timedOut(ctx, err):
		te.Reason, te.cause = "timed out", context.DeadlineExceeded
		if took > 0 {
			te.Reason += " after " + took.Round(100*time.Millisecond).String()
		}
	case errors.Is(err, context.Canceled):
		te.Reason, te.cause = "cancelled", context.Canceled
	case tlsReason(te, out, u, newRedactor(r), err):
	default:
		netReason(te, newRedactor(r), err)
	}
	return out
}

func timedOut(ctx context.Context, err error) bool {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok && !dns.IsTimeout {
		return false
	}
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// tlsReason names what is wrong with a certificate or a handshake.
func tlsReason(te *TransportError, out *providers.Error, u *url.URL, red redactor, err error) bool {
	var name x509.HostnameError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		te.Reason, te.cause = ErrNotTLS.Error(), ErrNotTLS
		if te.Peer == "" {
			out.Hint = "set plain_http = true"
		}
	case errors.As(err, &name):
		te.Reason = fmt.Sprintf("tls: certificate for %s is for %s", Printable(name.Host, 100), certNames(name.Certificate))
	case errors.As(err, &unknown):
		te.Reason, out.Hint = "certificate signed by unknown authority", "set ca_file"
		if unknown.Cert != nil && unknown.Cert.Issuer.String() != "" {
			te.Reason += " (" + Printable(unknown.Cert.Issuer.String(), 80) + ")"
		}
	case errors.As(err, &invalid):
		te.Reason = "tls: certificate " + invalidReason(invalid)
	case errors.As(err, &verify):
		te.Reason = "tls: certificate of " + Printable(u.Hostname(), 100) + " cannot be verified"
	case errors.As(err, &alert):
		te.Reason = "tls: the server refused the handshake (" + Printable(alert.Error(), 80) + ")"
	case strings.HasPrefix(err.Error(), "tls: "), strings.HasPrefix(err.Error(), "remote error: tls: "):
		_, t, _ := strings.Cut(err.Error(), "tls: ")
		te.Reason = "tls: " + red.clean(t, 100)
	default:
		return false
	}
	return true
}

func invalidReason(e x509.CertificateInvalidError) string {
	subject := "of " + certNames(e.Cert)
	switch {
	case e.Reason == x509.Expired && e.Cert != nil && time.Now().Before(e.Cert.NotBefore):
		return subject + " is not valid before " + e.Cert.NotBefore.UTC().Format(time.RFC3339)
	case e.Reason == x509.Expired && e.Cert != nil:
		return subject + " expired at " + e.Cert.NotAfter.UTC().Format(time.RFC3339)
	case e.Reason == x509.CANotAuthorizedForThisName:
		return subject + " is signed by an authority that must not sign this name"
	}
	return subject + " is not valid for a server"
}

// certNames lists up to three names of a certificate.
func certNames(c *x509.Certificate) string {
	if c == nil {
		return "an unnamed host"
	}
	names := c.DNSNames
	for _, ip := range c.IPAddresses {
		names = append(names[:len(names):len(names)], ip.String())
	}
	if len(names) == 0 {
		names = []string{firstOf(c.Subject.CommonName, "no host")}
	}
	if len(names) > 3 {
		names = append(names[:3:3], "…")
	}
	return Printable(strings.Join(names, ", "), 120)
}

// netReason names what the network did.
func netReason(te *TransportError, red redactor, err error) {
	via := ""
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "proxyconnect" {
		via = "proxy: "
	}
	te.passing = true
	dns, isDNS := errors.AsType[*net.DNSError](err)
	switch {
	case isDNS && dns.IsNotFound:
		te.Reason, te.passing = "no such host", false
	case isDNS:
		te.Reason = "the name cannot be looked up"
	case errors.Is(err, errRefused):
		te.Reason = "connection refused"
	case errors.Is(err, errReset), errors.Is(err, errPipe):
		te.Reason = "connection reset"
	case errors.Is(err, errHostUnreach), errors.Is(err, errNetUnreach):
		te.Reason = "no route to the host"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "server closed"),
		strings.Contains(err.Error(), "client conn could not be established"): // a client certificate that was asked for, in TLS 1.3
		te.Reason = "the server closed the connection"
	case strings.Contains(err.Error(), "malformed"), strings.Contains(err.Error(), "gzip"), strings.Contains(err.Error(), "chunk"):
		te.Reason, te.passing = "the answer is no valid HTTP", false
	default:
		te.Reason = red.clean(err.Error(), 120)
	}
	te.Reason = via + te.Reason
}
