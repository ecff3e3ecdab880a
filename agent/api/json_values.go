// SPDX-License-Identifier: Apache-2.0

package api

import "strconv"

// number steps over a number and returns it.
func (s *scanner) number() (string, error) {
	start := s.i
	s.literal("-")
	if !s.literal("0") && s.digits() == 0 {
		return "", errJSON
	}
	if s.literal(".") && s.digits() == 0 {
		return "", errJSON
	}
	if s.literal("e") || s.literal("E") {
		if !s.literal("+") {
			s.literal("-")
		}
		if s.digits() == 0 {
			return "", errJSON
		}
	}
	return string(s.b[start:s.i]), nil
}

func (s *scanner) digits() (n int) {
	for s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
		n++
	}
	return n
}

func (s *scanner) int64() (int64, error) {
	text, err := s.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errJSON
	}
	return n, nil
}

// texts reads an array of strings.
func (s *scanner) texts() ([]string, error) {
	if !s.take('[') {
		return nil, errJSON
	}
	out := []string{}
	for !s.take(']') {
		if len(out) > 0 && !s.take(',') {
			return nil, errJSON
		}
		s.space()
		v, err := s.text()
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// skip steps over any value.
func (s *scanner) skip(depth int) error {
	if depth == 0 || s.i >= len(s.b) {
		return errJSON
	}
	switch s.b[s.i] {
	case '{':
		return s.skipList('}', depth, true)
	case '[':
		return s.skipList(']', depth, false)
	case '"':
		_, err := s.text()
		return err
	case 't', 'f':
		_, err := s.boolean()
		return err
	case 'n':
		if !s.null() {
			return errJSON
		}
		return nil
	}
	_, err := s.number()
	return err
}

func (s *scanner) skipList(end byte, depth int, keys bool) error {
	s.i++
	for first := true; !s.take(end); first = false {
		if !first && !s.take(',') {
			return errJSON
		}
		s.space()
		if keys {
			if _, err := s.text(); err != nil {
				return err
			}
			if !s.take(':') {
				return errJSON
			}
			s.space()
		}
		if err := s.skip(depth - 1); err != nil {
			return err
		}
	}
	return nil
}
