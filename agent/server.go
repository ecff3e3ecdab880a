// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/providers"
)

const (
	maxBody      = 256 << 10
	maxJobBody   = 4 << 20 // a job's request carries its config and logins
	headerLimit  = 2 * time.Second
	idleLimit    = 2 * time.Minute
	bodyDeadline = 5 * time.Second
)

// connInfo is what is known of a connection: which socket, which peer.
type connInfo struct {
	job  *job
	peer api.Peer
}

type connKey struct{}

func infoOf(r *http.Request) connInfo {
	i, _ := r.Context().Value(connKey{}).(connInfo)
	return i
}

// newServer makes the one HTTP server behind the main socket and all job
// sockets.
func (a *Agent) newServer() *http.Server {
	mux := http.NewServeMux()
	post := func(path string, h http.HandlerFunc) { mux.HandleFunc("POST /v1/"+path, h) }
	post("get", a.handleGet)
	post("check", a.handleCheck)
	post("store", a.handleStore)
	post("erase", a.handleErase)
	post("list", a.handleList)
	post("refresh", a.handleRefresh)
	post("jobs/open", a.handleJobOpen)
	mux.HandleFunc("GET /v1/status", a.handleStatus)
	mux.HandleFunc("GET /v1/recent", a.handleRecent)
	mainOnly := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if infoOf(r).job != nil {
				reply(w, http.StatusForbidden, failedText(providers.Denied, "not inside a job"))
				return
			}
			h(w, r)
		}
	}
	post("reload", mainOnly(a.handleReload))
	post("lock", mainOnly(a.handleLock))
	post("unlock", mainOnly(a.handleUnlock))
	post("agent/stop", mainOnly(a.handleStop))
	post("agent/handover", mainOnly(a.handleHandover))
	mux.HandleFunc("GET /v1/metrics", mainOnly(a.handleMetrics))
	return &http.Server{
		Handler:           guard(mux),
		ReadHeaderTimeout: headerLimit,
		ReadTimeout:       headerLimit + bodyDeadline, // also of bodies that no handler reads
		IdleTimeout:       idleLimit,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // what a peer sends is not worth a line
		ConnState: func(c net.Conn, s http.ConnState) {
			if pc, ok := c.(*peerConn); ok {
				pc.state.Store(int64(s))
			}
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if pc, ok := c.(*peerConn); ok {
				return context.WithValue(ctx, connKey{}, connInfo{job: pc.job, peer: pc.peer})
			}
			return ctx
		},
	}
}

// guard refuses what only a browser or a confused proxy would send.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "regmint" || r.Header.Get("Origin") != "" || r.Header.Get("Referer") != "" {
			w.Header().Set("Connection", "close")
			reply(w, http.StatusForbidden, failedText(providers.Denied, "not a regmint client"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// read decodes a body of at most limit bytes, strictly one JSON value.
func read(w http.ResponseWriter, r *http.Request, limit int64, v any) bool {
	return readWith(w, r, limit, func(data []byte) error { return json.Unmarshal(data, v) })
}

// readWith reads a body within bodyDeadline.
func readWith(w http.ResponseWriter, r *http.Request, limit int64, decode func([]byte) error) bool {
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyDeadline))
	size := int64(512)
	if r.ContentLength > 0 && r.ContentLength <= limit {
		size = r.ContentLength + 1
	}
	buf := bytes.NewBuffer(make([]byte, 0, size))
	_, err := buf.ReadFrom(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		_ = rc.SetReadDeadline(time.Time{}) // the answer may take its time
		err = decode(buf.Bytes())
	}
	if err != nil {
		_ = rc.SetReadDeadline(time.Now()) // net/http would wait for the rest
		w.Header().Set("Connection", "close")
		reply(w, http.StatusBadRequest, failedText(providers.Misconfigured, "bad request"))
		return false
	}
	return true
}

// reply sends v with a Content-Length, which the lean client demands.
func reply(w http.ResponseWriter, status int, v any) {
	if r, ok := v.(*api.Reply); ok && r.Version == "" {
		r.Version = api.BuildVersion // a caller of another version says so
	}
	data, err := json.Marshal(v)
	if err != nil {
		data, status = []byte(`{"outcome":"failed"}`), http.StatusInternalServerError
	}
	send(w, status, data)
}

func send(w http.ResponseWriter, status int, data []byte) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Date"] = nil
	h["Content-Length"] = []string{strconv.Itoa(len(data))} // net/http counts for us up to 2 KiB only
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

var jsonType = []string{"application/json"}

func failedText(kind providers.Kind, text string) *api.Reply {
	return &api.Reply{Outcome: api.Failed, Kind: string(kind), Message: text, Version: api.BuildVersion}
}

// peerListener accepts whom DESIGN rule 9 allows and remembers who it is.
type peerListener struct {
	net.Listener
	job       *job
	patrol    *patrol
	allowRoot func() bool
	log       *slog.Logger
	refused   func()
}

// Accept skips refused peers: they see a closed connection and no data.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		p, err := api.PeerOf(c)
		if err == nil && l.job == nil {
			err = api.AllowPeer(p, l.allowRoot())
		}
		if err != nil {
			l.refused()
			l.log.Warn("connection refused", "uid", p.UID, "pid", p.PID, "err", err.Error())
			_ = c.Close()
			continue
		}
		pc := &peerConn{Conn: c, job: l.job, peer: p, patrol: l.patrol}
		l.patrol.add(pc)
		return pc, nil
	}
}
