// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// refusal is an answer that says no.
type refusal struct {
	status  int
	code    string
	message string
	header  http.Header
	extra   map[string]any // further members of a JSON body
}

// codes of faults, by protocol: the query protocol of STS, JSON 1.1 of ECR.
var (
	queryCodes = map[faultKind]refusal{
		missingAuth:    {status: 403, code: "MissingAuthenticationToken"},
		incompleteAuth: {status: 400, code: "IncompleteSignature"},
		unknownKey:     {status: 403, code: "InvalidClientTokenId"},
		expiredKey:     {status: 403, code: "ExpiredToken"},
		wrongSignature: {status: 403, code: "SignatureDoesNotMatch"},
		accessDenied:   {status: 403, code: "AccessDenied"},
	}
	jsonCodes = map[faultKind]refusal{
		missingAuth:    {status: 400, code: "MissingAuthenticationTokenException"},
		incompleteAuth: {status: 400, code: "IncompleteSignatureException"},
		unknownKey:     {status: 400, code: "UnrecognizedClientException"},
		expiredKey:     {status: 400, code: "ExpiredTokenException"},
		wrongSignature: {status: 400, code: "InvalidSignatureException"},
		accessDenied:   {status: 400, code: "AccessDeniedException"},
	}
)

func (f *fault) in(codes map[faultKind]refusal) *refusal {
	r := codes[f.kind]
	r.message = f.message
	return &r
}

func (f *Failure) refusal() *refusal {
	return &refusal{status: f.Status, code: f.Code, message: f.Message, header: f.Header}
}

// maxBody is more than any request here may have.
const maxBody = 1 << 20

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	return b, err == nil
}

// head sets what every answer has; the date is the cloud's, by which SDKs see
// that a clock is wrong.
func (a *AWS) head(w http.ResponseWriter, kind string) string {
	id := requestID()
	w.Header().Set("Date", a.c.Now().UTC().Format(http.TimeFormat))
	w.Header().Set("X-Amzn-Requestid", id)
	w.Header().Set("Content-Type", kind)
	return id
}

func requestID() string {
	s := random(32)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

const (
	kindXML    = "text/xml"
	kindJSON11 = "application/x-amz-json-1.1"
	kindJSON   = "application/json"
)

// refuseXML answers in the shape of the query protocol.
func (a *AWS) refuseXML(w http.ResponseWriter, f *refusal) {
	type fault struct {
		Type, Code, Message string
	}
	out := struct {
		XMLName   xml.Name `xml:"https://sts.amazonaws.com/doc/2011-06-15/ ErrorResponse"`
		Error     fault
		RequestID string `xml:"RequestId"`
	}{Error: fault{"Sender", f.code, f.message}}
	if f.status >= 500 {
		out.Error.Type = "Receiver"
	}
	out.RequestID = a.head(w, kindXML)
	maps.Copy(w.Header(), f.header)
	w.WriteHeader(f.status)
	_ = xml.NewEncoder(w).Encode(out)
}

// refuseJSON answers in the shape of JSON 1.1.
func (a *AWS) refuseJSON(w http.ResponseWriter, f *refusal) {
	a.head(w, kindJSON11)
	a.refuse(w, f, map[string]any{"__type": f.code, "message": f.message})
}

// refuseREST answers in the shape of REST JSON.
func (a *AWS) refuseREST(w http.ResponseWriter, f *refusal) {
	a.head(w, kindJSON)
	w.Header().Set("X-Amzn-Errortype", f.code)
	a.refuse(w, f, map[string]any{"message": f.message})
}

func (a *AWS) refuse(w http.ResponseWriter, f *refusal, body map[string]any) {
	maps.Copy(w.Header(), f.header)
	maps.Copy(body, f.extra)
	fakecloud.WriteJSON(w, f.status, body)
}

// epoch is a time as JSON 1.1 has it: seconds with a fraction.
func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }
