// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"slices"
	"strings"
)

// operators are the conditions that are understood; each may have ForAnyValue:
// or ForAllValues: before it and IfExists behind it.
var operators = map[string]func(pattern, value string) bool{
	"StringEquals":           func(p, v string) bool { return p == v },
	"StringEqualsIgnoreCase": strings.EqualFold,
	"StringLike":             wild,
	"ArnEquals":              wild,
	"ArnLike":                wild,
	"Bool":                   strings.EqualFold,
}

// opposites hold where no value fits.
var opposites = map[string]string{
	"StringNotEquals": "StringEquals", "StringNotLike": "StringLike", "ArnNotEquals": "ArnEquals", "ArnNotLike": "ArnLike",
}

func splitOperator(op string) (set, base string, ifExists bool) {
	for _, s := range []string{"ForAnyValue:", "ForAllValues:"} {
		if rest, ok := strings.CutPrefix(op, s); ok {
			set, op = s, rest
		}
	}
	base, ifExists = strings.CutSuffix(op, "IfExists")
	return set, base, ifExists
}

func knownOperator(op string) bool {
	_, base, _ := splitOperator(op)
	_, plain := operators[base]
	_, opposite := opposites[base]
	return plain || opposite
}

// holds reports whether all conditions of a statement are met.
func (s statement) holds(context map[string][]string) bool {
	for op, keys := range s.Condition {
		for key, patterns := range keys {
			if !meets(op, patterns, context[strings.ToLower(key)]) {
				return false
			}
		}
	}
	return true
}

func meets(op string, patterns, values []string) bool {
	set, base, ifExists := splitOperator(op)
	not := false
	if plain, ok := opposites[base]; ok {
		base, not = plain, true
	}
	is := operators[base]
	fits := func(v string) bool {
		return not != slices.ContainsFunc(patterns, func(p string) bool { return is(p, v) })
	}
	switch {
	case len(values) == 0:
		return ifExists || not || set == "ForAllValues:"
	case set == "ForAllValues:":
		return !slices.ContainsFunc(values, func(v string) bool { return !fits(v) })
	case set == "ForAnyValue:":
		return slices.ContainsFunc(values, fits)
	}
	// A key of one value; of more, AWS says that a set operator is needed.
	return len(values) == 1 && fits(values[0])
}
