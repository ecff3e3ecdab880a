// SPDX-License-Identifier: Apache-2.0

package httpxtest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// DNS is a name server on loopback. Each name has a list of answers: one a
// lookup, the last for ever; so a name can change its mind.
type DNS struct {
	mu    sync.Mutex
	names map[string][]string
	conn  net.PacketConn
}

// NewDNS starts a name server; unknown names do not exist.
func NewDNS(t testing.TB, names map[string][]string) *DNS {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &DNS{names: map[string][]string{}, conn: conn}
	for n, a := range names {
		d.names[strings.ToLower(n)+"."] = a
	}
	t.Cleanup(func() { _ = conn.Close() })
	go d.serve()
	return d
}

// Resolver asks this server alone.
func (d *DNS) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "udp", d.conn.LocalAddr().String())
	}}
}

func (d *DNS) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := d.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		if out := d.answer(buf[:n]); out != nil {
			_, _ = d.conn.WriteTo(out, from)
		}
	}
}

func (d *DNS) answer(q []byte) []byte {
	var p dnsmessage.Parser
	h, err := p.Start(q)
	if err != nil {
		return nil
	}
	question, err := p.Question()
	if err != nil {
		return nil
	}
	m := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: h.ID, Response: true, Authoritative: true, RecursionAvailable: true},
		Questions: []dnsmessage.Question{question},
	}
	addr, known := d.next(question)
	switch {
	case !known:
		m.RCode = dnsmessage.RCodeNameError
	case addr.IsValid():
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, Type: question.Type},
			Body:   &dnsmessage.AResource{A: addr.As4()},
		}}
	}
	out, err := m.Pack()
	if err != nil {
		return nil
	}
	return out
}

// next takes the answer of a lookup; only A records are served.
func (d *DNS) next(q dnsmessage.Question) (netip.Addr, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := strings.ToLower(q.Name.String())
	list, ok := d.names[name]
	if !ok || q.Type != dnsmessage.TypeA {
		return netip.Addr{}, ok
	}
	if len(list) > 1 {
		d.names[name] = list[1:]
	}
	return netip.MustParseAddr(list[0]), true
}
