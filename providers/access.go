// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"fmt"
	"strings"
)

// Access is a set of actions on a repository. Push includes pull.
type Access uint8

// The actions. The zero value means "as the account is".
const (
	Pull   Access = 1
	Push   Access = 2 | Pull
	Delete Access = 4
)

// ParseAccess reads "pull", "push", "delete" or a comma separated list.
func ParseAccess(s string) (Access, error) {
	var a Access
	for part := range strings.SplitSeq(s, ",") {
		switch part {
		case "pull":
			a |= Pull
		case "push":
			a |= Push
		case "delete":
			a |= Delete
		default:
			return 0, fmt.Errorf("unknown access %.40q: use pull, push or delete", part)
		}
	}
	return a, nil
}

// Has reports whether a includes all of b.
func (a Access) Has(b Access) bool { return a&b == b }

// String is the shortest list ParseAccess reads back; "" for the zero value.
func (a Access) String() string {
	var parts []string
	switch {
	case a.Has(Push):
		parts = append(parts, "push")
	case a.Has(Pull):
		parts = append(parts, "pull")
	}
	if a.Has(Delete) {
		parts = append(parts, "delete")
	}
	return strings.Join(parts, ",")
}

// MarshalText implements encoding.TextMarshaler.
func (a Access) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; "" is the zero value.
func (a *Access) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*a = 0
		return nil
	}
	v, err := ParseAccess(string(b))
	*a = v
	return err
}
