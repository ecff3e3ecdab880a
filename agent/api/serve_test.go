// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestServerReadsWhatTheClientWrites(t *testing.T) {
	want := GetRequest{
		Key: "reg.example/a\u2028<&>\"", Account: "a", Soft: true, Env: []string{"A=1", "B"}, PID: 7, Client: "docker",
		Config: "/c", Refresh: true, Native: true, Version: "1",
	}
	if v := reflect.ValueOf(want); v.NumField() != len(requestFields) {
		t.Fatalf("GetRequest has %d fields, the codec knows %d", v.NumField(), len(requestFields))
	}
	for _, text := range [][]byte{appendGet(nil, &want), mustJSON(t, want)} {
		var got GetRequest
		if err := ParseGetRequest(text, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s = %+v, %v", text, got, err)
		}
	}
}

func TestClientReadsWhatTheServerWrites(t *testing.T) {
	want := GetResponse{
		Outcome: OK, Username: "u", Secret: "s\x00\n\u2029", Kind: "k", Message: "m", Account: "a",
		IssuedAt: 1, ExpiresAt: 2, Wider: true, NeedEnv: []string{"X"}, Behind: "/b", Version: "v", NativeEnv: []string{"AWS_ACCESS_KEY_ID=\"<&>", "E="},
	}
	for _, r := range []GetResponse{want, {Outcome: NotFound}} {
		text := EncodeGetResponse(&r)
		if std := mustJSON(t, r); string(std) != string(text) {
			t.Errorf("%s\nencoding/json writes\n%s", text, std)
		}
		var got GetResponse
		if err := parseGet(text, &got); err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("%s = %+v, %v", text, got, err)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
