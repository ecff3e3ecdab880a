// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

const maxDepth = 32

// The ways an answer can fail to be JSON. None repeats a byte of it.
var (
	errNotJSON   = errors.New("the answer is not JSON")
	errEmpty     = errors.New("the answer is empty")
	errHTML      = errors.New("the answer is a web page, not JSON")
	errDuplicate = errors.New("the answer names a key twice")
	errDeep      = fmt.Errorf("the answer is nested more than %d levels deep", maxDepth)
	errTrailing  = errors.New("the answer goes on after its JSON value")
)

// ParseJSON decodes strictly: UTF-8, one value, no duplicate keys, at most 32
// levels; numbers are json.Number. Errors repeat nothing of b.
func ParseJSON(b []byte) (any, error) {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0:
		return nil, errEmpty
	case b[0] == '<':
		return nil, errHTML
	case !utf8.Valid(b):
		return nil, errNotJSON
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	v, err := value(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errTrailing
	}
	return v, nil
}

func value(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, errNotJSON
	}
	switch t {
	case json.Delim('{'):
		return object(d, depth+1)
	case json.Delim('['):
		return array(d, depth+1)
	}
	return t, nil
}

func object(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	m := map[string]any{}
	for d.More() {
		t, err := d.Token()
		k, ok := t.(string)
		if err != nil || !ok {
			return nil, errNotJSON
		}
		if _, twice := m[k]; twice {
			return nil, errDuplicate
		}
		if m[k], err = value(d, depth); err != nil {
			return nil, err
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, errNotJSON
	}
	return m, nil
}

func array(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	a := []any{}
	for d.More() {
		v, err := value(d, depth)
		if err != nil {
			return nil, err
		}
		a = append(a, v)
	}
	if _, err := d.Token(); err != nil {
		return nil, errNotJSON
	}
	return a, nil
}
