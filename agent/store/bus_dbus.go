// SPDX-License-Identifier: Apache-2.0

//go:build !darwin && !windows

package store

import (
	"context"
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
)

// usesBus: the keychain is the Secret Service behind the session bus.
const usesBus = true

// ringLimit is what we put into one item. The Secret Service has no limit of
// its own; large items make every unlock of the collection slower.
const ringLimit = 64 << 10

const ringName = "Secret Service"

// childEnv: the bus comes with the request. No PATH, so that nothing can be
// started.
func childEnv(env []string) []string { return pick(env, "HOME", "XDG_RUNTIME_DIR") }

// sessionBus returns the address of a session bus that accepts connections.
// Addresses that would start something are not followed.
// Format: https://dbus.freedesktop.org/doc/dbus-specification.html#addresses
func sessionBus(ctx context.Context, env []string) (string, error) {
	list := lookup(env, "DBUS_SESSION_BUS_ADDRESS")
	if list == "" {
		path := filepath.Join("/run/user", strconv.Itoa(os.Getuid()), "bus")
		if _, err := os.Stat(path); err != nil {
			return "", errors.New("there is no D-Bus session")
		}
		list = "unix:path=" + path
	}
	for addr := range strings.SplitSeq(list, ";") {
		socket := busSocket(addr, env)
		if socket == "" {
			continue
		}
		d := net.Dialer{Timeout: time.Second}
		if c, err := d.DialContext(ctx, "unix", socket); err == nil {
			_ = c.Close()
			return addr, nil
		}
	}
	return "", errors.New("the D-Bus session does not accept connections")
}

// busSocket is the socket of a unix: address, "" for every other kind.
func busSocket(addr string, env []string) string {
	params, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		return ""
	}
	for p := range strings.SplitSeq(params, ",") {
		key, value, _ := strings.Cut(p, "=")
		value, err := url.PathUnescape(value)
		if err != nil {
			return ""
		}
		switch key {
		case "path":
			return value
		case "abstract":
			return "@" + value
		case "runtime":
			if dir := lookup(env, "XDG_RUNTIME_DIR"); value == "yes" && filepath.IsAbs(dir) {
				return filepath.Join(dir, "bus")
			}
		}
	}
	return ""
}

// pingRing starts the secret service where it is not running and waits for its
// answer.
func pingRing(bus string) error {
	conn, err := dbus.Connect(bus)
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Object("org.freedesktop.secrets", "/org/freedesktop/secrets").Call("org.freedesktop.DBus.Peer.Ping", 0).Err
}
