// SPDX-License-Identifier: Apache-2.0

package configdir

import "fmt"

// setPath sets the key path in text, whose first key is matched in any letter
// case; missing objects on the way are made. A nil value removes the last key.
func setPath(text []byte, path []string, value []byte) ([]byte, error) {
	o, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	key := path[0]
	i := o.find(key, true)
	if i >= 0 {
		key = o.members[i].key
	}
	if len(path) == 1 {
		if value == nil {
			return o.remove(key), nil
		}
		return o.set(key, value, ""), nil
	}
	if i < 0 || isNull(o.members[i].rawValue) {
		if value == nil {
			return text, nil
		}
		return o.set(key, o.newObject(path[1], value), ""), nil
	}
	sub, err := nested(o.members[i].rawValue)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clean(key), err)
	}
	inner := sub.remove(path[1])
	if value != nil {
		inner = sub.set(path[1], value, o.memberIndent("\t"))
	}
	return o.set(key, inner, ""), nil
}

// newObject is the text of an object with one member, in the style of o.
func (o *object) newObject(key string, value []byte) []byte {
	if o.inline() {
		_, colon := o.style()
		return concat("{", quote(key), colon, value, "}")
	}
	outer := o.memberIndent("\t")
	inner := outer + outer
	if outer == "" {
		inner = "\t"
	}
	return concat("{\n", inner, quote(key), ": ", value, "\n", outer, "}")
}

// isNull: docker's decoder takes null for an absent value.
func isNull(raw []byte) bool { return string(raw) == "null" }

// nested reads the object in a member's value.
func nested(raw []byte) (*object, error) {
	if len(raw) == 0 || raw[0] != '{' {
		kind := "nothing"
		if len(raw) > 0 {
			kind = jsonKind(raw[0])
		}
		return nil, fmt.Errorf("%w: a JSON object is needed, not %s", ErrMalformed, kind)
	}
	return splitObject(raw, 0)
}

// getPath is the raw value at path, nil where it is absent.
func getPath(text []byte, path []string) ([]byte, error) {
	o, err := parseObject(text)
	if err != nil {
		return nil, err
	}
	i := o.find(path[0], true)
	if i < 0 {
		return nil, nil
	}
	raw := o.members[i].rawValue
	if len(path) == 1 {
		return raw, nil
	}
	if isNull(raw) {
		return nil, nil
	}
	sub, err := nested(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", clean(path[0]), err)
	}
	if i = sub.find(path[1], false); i < 0 {
		return nil, nil
	}
	return sub.members[i].rawValue, nil
}
